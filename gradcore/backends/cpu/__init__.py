"""The CPU: NumPy arrays, ufuncs and BLAS, and kernels built by the host's compiler where there is one."""

from .backend import CpuBackend

__all__ = ["CpuBackend"]
