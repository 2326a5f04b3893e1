// The linear layer of few tokens over packed weights (kernels/packed_matrix.h). Part of cpu::linear.
#pragma once

#include "kernels/linear.h"

namespace eyrie::kernels::cpu {

// Each row of x is rounded to 16-bit integers times one scale (within 1/65278 of its largest value), products
// and sums within a group are exact integers, sums of groups f32. Every output is computed by the same
// operations whatever T and the pool's size are: the same bits.
void packedLinear(const LinearArgs& args, ThreadPool& pool);

}  // namespace eyrie::kernels::cpu
