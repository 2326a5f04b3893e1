// One token through convolution, gates, RG-LRU and output gate: gate_step.h does the first two.
#include "kernels/cuda/activation.h"
#include "kernels/cuda/gate_step.h"
#include "kernels/cuda/gates.h"

namespace eyrie::kernels::cuda {
namespace {

template <class Stored, int kCount>
__global__ void __launch_bounds__(step::kThreads) recurrent_step_kernel(RecurrentStepArgs args) {
  EYRIE_DYNAMIC_SHARED(float, c);
  const step::GateColumn of = step::gateColumn<Stored, kCount>(args, c);
  if (!of.owned) return;
  const std::int64_t n = of.sequence;
  const std::int64_t r = of.channel;
  const bool reset = of.position == 0;
  const Gates gates = gatesOf(of.recurrencePre, of.inputPre, args.decayRate[r], reset);
  const float write = gates.multiplier * (gates.input * c[of.inBlock]);
  const float keep = reset ? 0.0F : gates.decay * args.states[n][r];
  const std::int64_t at = n * args.R + r;
  observe(args.taps, at, gates, write, keep);
  args.states[n][r] = keep + write;
  args.convRings[n][of.position % args.K * args.R + r] = args.x[at];
  args.out[at] = activate(args.y[at], args.activation) * (keep + write);
}

}  // namespace

void recurrentStep(const RecurrentStepArgs& args, Stream stream) {
  if (args.N == 0) return;
  step::withStep(args, [&](const Shape& shape, auto stored, auto perLoad) {
    launch(recurrent_step_kernel<decltype(stored), perLoad()>, shape, stream, args);
  });
}

}  // namespace eyrie::kernels::cuda
