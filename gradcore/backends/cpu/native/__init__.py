"""The native executor: C++ kernels built by the host's compiler, from the texts that CUDA kernels are made of."""
