// As recurrent_step.cu with complex states. A channel's real and imaginary inputs are convolved by its owner:
// both rarely lie in the gate block that its gates read.
#include "kernels/cuda/activation.h"
#include "kernels/cuda/complex_gates.h"
#include "kernels/cuda/gate_step.h"

namespace eyrie::kernels::cuda {
namespace {

template <class Stored, int kCount>
__global__ void __launch_bounds__(step::kThreads)
    complex_recurrent_step_kernel(ComplexRecurrentStepArgs args) {
  EYRIE_DYNAMIC_SHARED(float, convolvedChannels);
  const RecurrentStepArgs& block = args.block;
  const step::GateColumn of = step::gateColumn<Stored, kCount>(block, convolvedChannels);
  if (!of.owned) return;
  const std::int64_t n = of.sequence;
  const std::int64_t C = block.R / 2;
  const std::int64_t c = of.channel;
  const bool reset = of.position == 0;
  const ComplexGates gates =
      complexGatesOf(of.recurrencePre, of.inputPre, block.decayRate[c], args.angleRate[c], reset);
  const Complex write = gates.writeOf(
      {step::convolved(block, n, of.position, c), step::convolved(block, n, of.position, C + c)});
  float* state = block.states[n];
  const Complex keep = reset ? Complex{0.0F, 0.0F} : gates.a * Complex{state[c], state[C + c]};
  const Complex h = keep + write;
  observe(args.taps, n, C, c, gates);
  observe(args.taps, n, C, c, write, keep);
  state[c] = h.real;
  state[C + c] = h.imag;
  const std::int64_t real = n * block.R + c;
  const std::int64_t imag = real + C;
  float* newest = block.convRings[n] + of.position % block.K * block.R;
  newest[c] = block.x[real];
  newest[C + c] = block.x[imag];
  block.out[real] = activate(block.y[real], block.activation) * h.real;
  block.out[imag] = activate(block.y[imag], block.activation) * h.imag;
}

}  // namespace

void complexRecurrentStep(const ComplexRecurrentStepArgs& args, Stream stream) {
  if (args.block.N == 0) return;
  step::withStep(args.block, [&](const Shape& shape, auto stored, auto perLoad) {
    launch(complex_recurrent_step_kernel<decltype(stored), perLoad()>, shape, stream, args);
  });
}

}  // namespace eyrie::kernels::cuda
