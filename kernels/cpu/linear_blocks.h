// The linear layer of many tokens as a matrix product in blocks: weights are widened and laid out for the
// kernel a block at a time, x once for all of them. Part of cpu::linear.
#pragma once

#include "kernels/linear.h"

namespace eyrie::kernels::cpu {

// Every output is a sum made in the same order whatever T and the pool's size are: the same bits. Weights of
// f32, f16 or bf16, streamed once.
void linearByBlocks(const LinearArgs& args, ThreadPool& pool);

}  // namespace eyrie::kernels::cpu
