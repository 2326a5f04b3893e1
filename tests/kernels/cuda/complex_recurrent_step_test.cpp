// One fused step with complex states against conv1d, blockLinear, complexRgLru and gatedActivation of the
// reference.
#include "kernels/rg_lru.h"
#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

// A recurrent block's weights, and `N` sequences of `steps` inputs each.
struct Block {
  std::int64_t R, C, G, N, steps;
  std::int64_t K = 4;
  std::vector<float> convWeight, convBias, inputBias, recurrenceBias, rate, angle, x, y;
  StoredMatrix input, recurrence;

  Block(std::int64_t channels, std::int64_t groups, DType dtype, std::int64_t sequences, std::int64_t tokens,
        std::int64_t offset = 0)
      : R(2 * channels),
        C(channels),
        G(groups),
        N(sequences),
        steps(tokens),
        convWeight(randomVector(K * R, 1)),
        convBias(randomVector(R, 2)),
        inputBias(randomVector(C, 3)),
        recurrenceBias(randomVector(C, 4)),
        angle(randomVector(C, 9, 1.5F)),
        x(randomVector(N * steps * R, 5)),
        y(randomVector(N * steps * R, 6)),
        input(randomMatrix(R, C / G, dtype, 7, offset)),
        recurrence(randomMatrix(R, C / G, dtype, 8, offset)) {
    for (std::int64_t c = 0; c < C; ++c)
      rate.push_back(decayRateOf(-5.0F + 0.37F * static_cast<float>(c % 15)));
  }
};

struct Trace {
  std::vector<float> out, state;   // (steps, R), (R)
  std::vector<float> angle, keep;  // (steps, C), (steps, R)

  Trace(const Block& b, float before)
      : out(asSize(b.steps * b.R), before),
        state(asSize(b.R), before),
        angle(asSize(b.steps * b.C), before),
        keep(asSize(b.steps * b.R), before) {}
};

// Sequence n of the block from its beginning.
Trace byReference(const Block& b, std::int64_t n) {
  const std::int64_t first = n * b.steps * b.R;
  Trace trace(b, 0.0F);
  std::vector<float> tail(asSize((b.K - 1) * b.R)), c(trace.out.size()), h(trace.out.size());
  std::vector<float> input(trace.angle.size()), recurrence(trace.angle.size());
  const std::int64_t B = b.R / b.G;
  reference::conv1d(
      {b.x.data() + first, tail.data(), b.convWeight.data(), b.convBias.data(), b.steps, b.R, b.K, c.data()});
  reference::blockLinear({c.data(), b.input.view, b.inputBias.data(), b.steps, b.G, B, input.data()});
  reference::blockLinear(
      {c.data(), b.recurrence.view, b.recurrenceBias.data(), b.steps, b.G, B, recurrence.data()});
  ComplexRgLruArgs scan;
  scan.x = c.data();
  scan.recurrencePre = recurrence.data();
  scan.inputPre = input.data();
  scan.decayRate = b.rate.data();
  scan.angleRate = b.angle.data();
  scan.state = trace.state.data();
  scan.startsSequence = true;
  scan.T = b.steps;
  scan.C = b.C;
  scan.out = h.data();
  scan.taps.angle = trace.angle.data();
  scan.taps.keep = trace.keep.data();
  reference::complexRgLru(scan);
  reference::gatedActivation(
      {b.y.data() + first, h.data(), b.steps * b.R, Activation::geluTanh, trace.out.data()});
  return trace;
}

struct Rows {
  std::vector<std::int64_t> positions, sequences;
  std::vector<float*> rings, states;
  std::vector<float> x, y;
};

// Sequence n is `n` steps behind the first, so that positions differ within a step; those that have not begun
// stay out of it. What was in memory before is NaN.
std::vector<Trace> onTheCard(const Block& b, bool swapGates = false) {
  std::vector<Trace> traces(asSize(b.N), Trace(b, NAN));
  std::vector<std::vector<float>> rings(asSize(b.N), std::vector<float>(asSize(b.K * b.R), NAN));
  for (std::int64_t step = 0; step < b.steps + b.N - 1; ++step) {
    Rows rows;
    for (std::int64_t n = 0; n < b.N; ++n) {
      const std::int64_t position = step - n;
      if (position < 0 || position >= b.steps) continue;
      rows.sequences.push_back(n);
      rows.positions.push_back(position);
      rows.rings.push_back(rings[asSize(n)].data());
      rows.states.push_back(traces[asSize(n)].state.data());
      const std::int64_t at = (n * b.steps + position) * b.R;
      rows.x.insert(rows.x.end(), b.x.begin() + at, b.x.begin() + at + b.R);
      rows.y.insert(rows.y.end(), b.y.begin() + at, b.y.begin() + at + b.R);
    }
    std::vector<float> out(rows.x.size(), NAN), angle(rows.x.size() / 2, NAN), keep(rows.x.size(), NAN);
    cuda::ComplexRecurrentStepArgs args;
    args.block.x = rows.x.data();
    args.block.y = rows.y.data();
    args.block.convWeight = b.convWeight.data();
    args.block.convBias = b.convBias.data();
    args.block.inputGate = swapGates ? b.recurrence.view : b.input.view;
    args.block.recurrenceGate = swapGates ? b.input.view : b.recurrence.view;
    args.block.inputGateBias = b.inputBias.data();
    args.block.recurrenceGateBias = b.recurrenceBias.data();
    args.block.decayRate = b.rate.data();
    args.block.convRings = rows.rings.data();
    args.block.states = rows.states.data();
    args.block.positions = rows.positions.data();
    args.block.N = std::ssize(rows.positions);
    args.block.R = b.R;
    args.block.G = b.G;
    args.block.K = b.K;
    args.block.out = out.data();
    args.angleRate = b.angle.data();
    args.taps.angle = angle.data();
    args.taps.keep = keep.data();
    cuda::complexRecurrentStep(args, nullptr);
    for (std::size_t i = 0; i < rows.sequences.size(); ++i) {
      Trace& trace = traces[asSize(rows.sequences[i])];
      const auto take = [&](const std::vector<float>& from, std::vector<float>& to, std::int64_t width) {
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(i) * width, width,
                    to.begin() + rows.positions[i] * width);
      };
      take(out, trace.out, b.R);
      take(angle, trace.angle, b.C);
      take(keep, trace.keep, b.R);
    }
  }
  return traces;
}

}  // namespace

class CudaComplexRecurrentStepTest : public QObject {
  Q_OBJECT

 private slots:
  void stepsOfSeveralSequencesMatchReference();
  void trap3ToleranceRejectsSwappedGates();
};

void CudaComplexRecurrentStepTest::stepsOfSeveralSequencesMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      for (const auto& [C, G, offset] :
           {std::array{80L, 2L, 0L}, std::array{21L, 3L, 0L}, std::array{36L, 1L, 1L}}) {
        const Block block(C, G, dtype, 2, 6, offset);
        const std::vector<Trace> actual = onTheCard(block);
        for (std::int64_t n = 0; n < block.N; ++n) {
          const Trace expected = byReference(block, n);
          const Trace& trace = actual[asSize(n)];
          const std::string name = order + " " + dtypeName(dtype) + ", C " + std::to_string(C);
          const double bound = toleranceFor("complexRgLru", 256);
          EYRIE_VERIFY_CLOSE(trace.out, expected.out, bound, name);
          EYRIE_VERIFY_CLOSE(trace.state, expected.state, bound, name + " state");
          EYRIE_VERIFY_CLOSE(trace.angle, expected.angle, bound, name + " angle");
          EYRIE_VERIFY_CLOSE(trace.keep, expected.keep, bound, name + " keep");
        }
      }
    }
  });
}

void CudaComplexRecurrentStepTest::trap3ToleranceRejectsSwappedGates() {
  const Block block(24, 2, DType::bf16, 1, 5);
  EYRIE_VERIFY_REJECTS(onTheCard(block, true)[0].out, byReference(block, 0).out,
                       toleranceFor("complexRgLru", 256), "gates swapped");
}

QTEST_APPLESS_MAIN(CudaComplexRecurrentStepTest)
#include "complex_recurrent_step_test.moc"
