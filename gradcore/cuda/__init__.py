"""CUDA devices and kernels."""
