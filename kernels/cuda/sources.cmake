# The .cu files of kernels and launchers: compiled by nvcc, and as C++ for the tests' emulator.
set(EYRIE_CUDA_OPS
  attention.cu
  block_linear.cu
  conv1d.cu
  decode_attention.cu
  edit_columns.cu
  embed.cu
  gated_mlp.cu
  linear.cu
  logits.cu
  packed_linear.cu
  recurrent_step.cu
  rg_lru.cu
  rms_norm.cu
  rope.cu
  sample.cu)
