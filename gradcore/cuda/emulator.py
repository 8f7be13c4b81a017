"""Runs and checks your own CUDA kernels on a CPU: `cupy.RawKernel` and `cupy.RawModule` without a GPU.

Kernels take arrays of the emulated device (`asarray`, `empty`) or plain NumPy arrays, whose memory they use directly:

>>> import numpy as np
>>> from gradcore.cuda import emulator
>>> double = emulator.RawKernel('''
... extern "C" __global__ void twice(float* x, int n) {
...     int i = blockIdx.x * blockDim.x + threadIdx.x;
...     if (i < n) x[i] *= 2.0f;
... }''', "twice")
>>> x = np.arange(5, dtype=np.float32)
>>> with emulator.using(mode="check"):
...     double((1,), (32,), (x, np.int32(5)))
>>> x
array([0., 2., 4., 6., 8.], dtype=float32)

See `docs/emulator.md` for what is checked, and what the emulator does not know.
"""

from __future__ import annotations

from ..backends.emulator import module
from ..backends.emulator.api import array, asarray, asnumpy, empty, ndarray
from ..backends.emulator.config import Config, config, using
from ..backends.emulator.errors import CompileError, KernelError, UnsupportedError
from ..backends.emulator.toolchain import is_supported

__all__ = [
    "CompileError",
    "Config",
    "KernelError",
    "RawKernel",
    "RawModule",
    "UnsupportedError",
    "array",
    "asarray",
    "asnumpy",
    "config",
    "empty",
    "is_supported",
    "ndarray",
    "using",
]


class RawKernel(module.RawKernel):
    __doc__ = module.RawKernel.__doc__

    accepts_host_arrays = True


class RawModule(module.RawModule):
    __doc__ = module.RawModule.__doc__

    def get_function(self, name: str) -> module.Kernel:
        kernel = super().get_function(name)
        kernel.accepts_host_arrays = True
        return kernel
