// The linear layer of many tokens over packed weights (kernels/packed_matrix.h) as a product of bytes, in
// blocks as linear_blocks.h has them. Part of cpu::linear.
#pragma once

#include "kernels/linear.h"

namespace eyrie::kernels::cpu {

// Whether this processor multiplies bytes faster than the words of packed_linear.h.
bool multipliesBytes();

// Where multipliesBytes(). x is rounded to integers times a scale: of 7 bits for each 32 columns of a row
// where weights have 8 bits (pairs of more would overflow), of 8 bits for each 256 where they have 4.
// Products and their sums over 32 columns are exact integers, the sums of those f32 in the columns' order:
// the same bits whatever T and the pool's size are.
void packedByBlocks(const LinearArgs& args, ThreadPool& pool);

}  // namespace eyrie::kernels::cpu
