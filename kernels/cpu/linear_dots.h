// The linear layer as dot products: of one token, of few, or of tokens that are to have the bits they have
// alone. Part of cpu::linear.
#pragma once

#include "kernels/linear.h"

namespace eyrie::kernels::cpu {

// Every output is a sum made in the same order whatever T and the pool's size are: the same bits. Weights of
// f32, f16 or bf16, streamed once.
void linearByDots(const LinearArgs& args, ThreadPool& pool);

}  // namespace eyrie::kernels::cpu
