# The .cu files of kernels and launchers: compiled by nvcc into eyrie_kernels, and as C++ for the tests' emulator.
set(EYRIE_CUDA_OPS
  block_linear.cu
  embed.cu
  gated_mlp.cu
  linear.cu
  rms_norm.cu)
