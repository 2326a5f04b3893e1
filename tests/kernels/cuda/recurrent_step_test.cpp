// One fused step against conv1d, blockLinear, rgLru and gatedActivation of the reference.
#include "tests/kernels/cuda/cuda_test.h"

using namespace eyrie::kernels;
using namespace eyrie::kernels::test;

namespace {

// A recurrent block's weights, and `N` sequences of `steps` inputs each.
struct Block {
  std::int64_t R, G, K, N, steps;
  std::vector<float> convWeight, convBias, inputBias, recurrenceBias, rate, x, y;
  StoredMatrix input, recurrence;

  Block(std::int64_t width, std::int64_t groups, DType dtype, std::int64_t sequences, std::int64_t tokens,
        std::int64_t offset = 0)
      : R(width),
        G(groups),
        K(4),
        N(sequences),
        steps(tokens),
        convWeight(randomVector(K * R, 1)),
        convBias(randomVector(R, 2)),
        inputBias(randomVector(R, 3)),
        recurrenceBias(randomVector(R, 4)),
        x(randomVector(N * steps * R, 5)),
        y(randomVector(N * steps * R, 6)),
        input(randomMatrix(R, R / G, dtype, 7, offset)),
        recurrence(randomMatrix(R, R / G, dtype, 8, offset)) {
    for (std::int64_t r = 0; r < R; ++r)
      rate.push_back(decayRateOf(-5.0F + 0.37F * static_cast<float>(r % 15)));
  }
};

struct Trace {
  std::vector<float> out, state, recurrenceGate, keep;
};

// Sequence n of the block from its beginning; arrays (steps, R).
Trace byReference(const Block& b, std::int64_t n) {
  const std::int64_t first = n * b.steps * b.R;
  const std::size_t size = asSize(b.steps * b.R);
  std::vector<float> tail(asSize((b.K - 1) * b.R)), c(size), input(size), recurrence(size), h(size);
  Trace trace{std::vector<float>(size), std::vector<float>(asSize(b.R)), std::vector<float>(size),
              std::vector<float>(size)};
  reference::conv1d(
      {b.x.data() + first, tail.data(), b.convWeight.data(), b.convBias.data(), b.steps, b.R, b.K, c.data()});
  reference::blockLinear({c.data(), b.input.view, b.inputBias.data(), b.steps, b.G, b.R / b.G, input.data()});
  reference::blockLinear(
      {c.data(), b.recurrence.view, b.recurrenceBias.data(), b.steps, b.G, b.R / b.G, recurrence.data()});
  RgLruArgs scan{c.data(), recurrence.data(), input.data(), b.rate.data(), trace.state.data(),
                 true,     b.steps,           b.R,          h.data(),      {}};
  scan.taps.recurrenceGate = trace.recurrenceGate.data();
  scan.taps.keep = trace.keep.data();
  reference::rgLru(scan);
  reference::gatedActivation(
      {b.y.data() + first, h.data(), b.steps * b.R, Activation::geluTanh, trace.out.data()});
  return trace;
}

// All sequences of the block step by step on the card. Sequence n is `n` steps behind the first, so that
// positions differ within a step; those that have not begun stay out of it. What was in memory before is NaN.
std::vector<Trace> onTheCard(const Block& b, bool swapGates = false) {
  const std::size_t size = asSize(b.steps * b.R);
  std::vector<Trace> traces(asSize(b.N), {std::vector<float>(size, NAN), std::vector<float>(asSize(b.R), NAN),
                                          std::vector<float>(size, NAN), std::vector<float>(size, NAN)});
  std::vector<std::vector<float>> rings(asSize(b.N), std::vector<float>(asSize(b.K * b.R), NAN));
  for (std::int64_t step = 0; step < b.steps + b.N - 1; ++step) {
    std::vector<std::int64_t> positions, sequences;
    std::vector<float*> ringsOf, statesOf;
    std::vector<float> x, y;
    for (std::int64_t n = 0; n < b.N; ++n) {
      const std::int64_t position = step - n;
      if (position < 0 || position >= b.steps) continue;
      sequences.push_back(n);
      positions.push_back(position);
      ringsOf.push_back(rings[asSize(n)].data());
      statesOf.push_back(traces[asSize(n)].state.data());
      const std::int64_t at = (n * b.steps + position) * b.R;
      x.insert(x.end(), b.x.begin() + at, b.x.begin() + at + b.R);
      y.insert(y.end(), b.y.begin() + at, b.y.begin() + at + b.R);
    }
    std::vector<float> out(x.size(), NAN), gate(x.size(), NAN), keep(x.size(), NAN);
    cuda::RecurrentStepArgs args;
    args.x = x.data();
    args.y = y.data();
    args.convWeight = b.convWeight.data();
    args.convBias = b.convBias.data();
    args.inputGate = swapGates ? b.recurrence.view : b.input.view;
    args.recurrenceGate = swapGates ? b.input.view : b.recurrence.view;
    args.inputGateBias = b.inputBias.data();
    args.recurrenceGateBias = b.recurrenceBias.data();
    args.decayRate = b.rate.data();
    args.convRings = ringsOf.data();
    args.states = statesOf.data();
    args.positions = positions.data();
    args.N = static_cast<std::int64_t>(positions.size());
    args.R = b.R;
    args.G = b.G;
    args.K = b.K;
    args.out = out.data();
    args.taps.recurrenceGate = gate.data();
    args.taps.keep = keep.data();
    cuda::recurrentStep(args, nullptr);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      Trace& trace = traces[asSize(sequences[i])];
      const auto from = static_cast<std::ptrdiff_t>(i) * b.R;
      std::copy_n(out.begin() + from, b.R, trace.out.begin() + positions[i] * b.R);
      std::copy_n(gate.begin() + from, b.R, trace.recurrenceGate.begin() + positions[i] * b.R);
      std::copy_n(keep.begin() + from, b.R, trace.keep.begin() + positions[i] * b.R);
    }
  }
  return traces;
}

}  // namespace

class CudaRecurrentStepTest : public QObject {
  Q_OBJECT

 private slots:
  void stepsOfSeveralSequencesMatchReference();
  void gateBlocksOfMoreRowsThanAreLoadedAtOnce();
  void trap3ToleranceRejectsSwappedGates();
};

void CudaRecurrentStepTest::stepsOfSeveralSequencesMatchReference() {
  forEachOrder([](const std::string& order) {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      for (const auto& [R, G, offset] :
           {std::array{80L, 2L, 0L}, std::array{21L, 3L, 0L}, std::array{72L, 1L, 1L}}) {
        const Block block(R, G, dtype, 2, 6, offset);
        const std::vector<Trace> actual = onTheCard(block);
        for (std::int64_t n = 0; n < block.N; ++n) {
          const Trace expected = byReference(block, n);
          const Trace& trace = actual[asSize(n)];
          const std::string name = order + " " + dtypeName(dtype) + ", R " + std::to_string(R);
          EYRIE_VERIFY_CLOSE(trace.out, expected.out, toleranceFor("rgLru", 256), name);
          EYRIE_VERIFY_CLOSE(trace.state, expected.state, toleranceFor("rgLru", 256), name + " state");
          EYRIE_VERIFY_CLOSE(trace.recurrenceGate, expected.recurrenceGate, toleranceFor("blockLinear", 256),
                             name + " gate");
          EYRIE_VERIFY_CLOSE(trace.keep, expected.keep, toleranceFor("rgLru", 256), name + " keep");
        }
      }
    }
  });
}

void CudaRecurrentStepTest::gateBlocksOfMoreRowsThanAreLoadedAtOnce() {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Block block(264, 1, dtype, 1, 3);
    const Trace actual = onTheCard(block)[0];
    const Trace expected = byReference(block, 0);
    EYRIE_VERIFY_CLOSE(actual.out, expected.out, toleranceFor("rgLru", 256), dtypeName(dtype));
    EYRIE_VERIFY_CLOSE(actual.recurrenceGate, expected.recurrenceGate, toleranceFor("blockLinear", 256),
                       std::string(dtypeName(dtype)) + " gate");
  }
}

void CudaRecurrentStepTest::trap3ToleranceRejectsSwappedGates() {
  const Block block(48, 2, DType::bf16, 1, 5);
  EYRIE_VERIFY_REJECTS(onTheCard(block, true)[0].out, byReference(block, 0).out, toleranceFor("rgLru", 256),
                       "gates swapped");
}

QTEST_APPLESS_MAIN(CudaRecurrentStepTest)
#include "recurrent_step_test.moc"
