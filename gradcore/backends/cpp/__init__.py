"""C++ text that the CUDA kernels and the host's native kernels have in common: types, operands, sources, strides."""
