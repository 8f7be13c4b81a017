"""Stands in for `cupy.RawModule` and `cupy.RawKernel`: compiles kernels for the host and launches them.

CuPy and CUDA check nothing about a kernel's arguments. Here their number, types and sizes are compared with the
parameters in the C++ source, and memory out of the arguments' bounds is reported.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable, Sequence
from threading import RLock
from typing import Any, NoReturn

import numpy as np
from numpy.lib.array_utils import byte_bounds

from . import toolchain
from .allocator import MemoryPointer
from .array import borrow, ndarray
from .config import config
from .cuda import MAX_SHARED_DEFAULT, MAX_SHARED_OPTIN
from .errors import KernelError
from .memory import allocation_containing, allocations_in_table, raise_pending
from .signature import NativeParameter, Parameter
from .translate import kernel_names, translate, uses_half

_ORDERS = {"forward": 0, "reverse": 1}
_SHUFFLED = 2
_MAX_PARAMETERS = 1024
_MAX_GRID = (2**31 - 1, 65535, 65535)
_MESSAGE_BYTES = 2000
_REGION = struct.Struct("4Q4i")  # native/launch.h: Region
_ANY_GRANULE = 16
_UNGUARDED = (0, 0, 0)
_FROM_PYTHON = ((bool, np.bool_), (int, np.int64), (float, np.float64), (complex, np.complex128))


# The scheduler is one for all threads; loading a kernel sets it up, and native code lets other threads run.
_LAUNCHING = RLock()


class _Launch(ctypes.Structure):
    """native/launch.h: Launch."""

    _fields_ = [
        ("image", ctypes.c_void_p),
        ("call", ctypes.c_void_p),
        ("arguments", ctypes.c_char_p),
        ("regions", ctypes.c_char_p),
        ("shared_bytes", ctypes.c_uint64),
        ("seed", ctypes.c_uint64),
        ("time_limit", ctypes.c_double),
        ("grid", ctypes.c_uint32 * 3),
        ("block", ctypes.c_uint32 * 3),
        ("region_count", ctypes.c_int32),
        ("order", ctypes.c_int32),
        ("check", ctypes.c_int32),
        ("strict", ctypes.c_int32),
        ("poison", ctypes.c_int32),
        ("edges", ctypes.c_int32),
    ]


class _CompiledModule:
    """A kernel source compiled in one mode, and loaded."""

    def __init__(self, text: str, mode: str, half: bool):
        runtime = toolchain.runtime()
        self.path = toolchain.build_module(text, mode, half)
        self.library = ctypes.CDLL(str(self.path))
        self.image = runtime.emu_open_image(self.address("emu_shared_anchor"))
        self.launch = runtime.emu_launch

    def address(self, name: str) -> int:
        address = ctypes.cast(getattr(self.library, name), ctypes.c_void_p).value
        assert address is not None
        return address

    def parameters(self, index: int) -> list[Parameter]:
        native = (NativeParameter * _MAX_PARAMETERS)()
        count = getattr(self.library, f"emu_describe_{index}")(native)
        return [Parameter(parameter) for parameter in native[:count]]


# Modules of this process: the same source is loaded once.
_compiled: dict[tuple[str, str], _CompiledModule] = {}


class RawModule:
    """A CUDA C++ source with kernels in it; `cupy.RawModule`'s interface.

    Args:
        code: the source.
        options: for the compiler; `-D` and `-U` matter here, the rest is for NVRTC.
        name_expressions: the kernels to be had, such as `"softmax<float>"`; needed for templates.
        backend: ignored.
    """

    def __init__(
        self,
        *,
        code: str,
        options: Iterable[str] = (),
        name_expressions: Iterable[str] | None = None,
        backend: str = "nvrtc",
        **_: Any,
    ):
        self.code = code
        self.options = tuple(options)
        self.name_expressions = tuple(name_expressions) if name_expressions is not None else None
        self._names = list(self.name_expressions) if self.name_expressions else kernel_names(code)
        self._modules: dict[str, _CompiledModule] = {}

    def compile(self, log_stream: Any = None) -> None:
        """Compiles the source; otherwise done on the first launch."""
        self._module(config.mode)

    def get_function(self, name: str) -> Kernel:
        """The kernel of this name, which must be one of `name_expressions` if those were given."""
        if name not in self._names:
            if self.name_expressions or "<" in name:
                raise KeyError(f"no kernel {name!r} in this module, which has {', '.join(self._names) or 'none'}")
            # It may come from a macro; the compiler will tell.
            self._names.append(name)
            self._modules.clear()
        return Kernel(self, name)

    def _module(self, mode: str) -> _CompiledModule:
        module = self._modules.get(mode)
        if module is None:
            text = translate(self.code, self._names, self.options)
            module = _compiled.get((text, mode))
            if module is None:
                module = _compiled[text, mode] = _CompiledModule(text, mode, uses_half(self.code))
            self._modules[mode] = module
        return module


class _Entry:
    """A kernel in one compiled module, ready to be called."""

    def __init__(self, module: _CompiledModule, index: int):
        self.module = module
        self.call = module.address(f"emu_call_{index}")
        self.parameters = module.parameters(index)
        layout = "<"
        end = 0
        for parameter in self.parameters:
            gap = parameter.offset - end
            layout += f"{gap}x" if gap else ""
            layout += "Q" if parameter.is_pointer else f"{parameter.size}s"
            end = parameter.offset + parameter.size
        self.pack = struct.Struct(layout).pack


class Kernel:
    """A CUDA kernel that runs on the CPU.

    Called as `kernel(grid, block, args, shared_mem=0)`, where `grid` and `block` are tuples of one to three ints. Of
    the arguments, device arrays stand for pointers, NumPy scalars for numbers of their dtype, a NumPy array of size 1
    for a struct, `None` for a null pointer; a Python int, float or bool for int64, float64 or bool, as with CuPy. The
    launch is done when the call returns.

    Attributes:
        max_dynamic_shared_size_bytes: what `shared_mem` may be, 48 kB unless set.
        accepts_host_arrays: NumPy arrays may be passed for pointers; the kernel works on their own memory.

    Raises:
        KernelError: for wrong arguments, or if the kernel does something wrong; see `docs/emulator.md`.
        TypeError: for a host array, unless they are accepted.
    """

    accepts_host_arrays = False

    def __init__(self, module: RawModule, name: str):
        self._module = module
        self.name = name
        self._entries: dict[str, _Entry] = {}
        self._max_dynamic_shared = MAX_SHARED_DEFAULT

    def __repr__(self) -> str:
        return f"<emulated kernel {self.name}>"

    @property
    def max_dynamic_shared_size_bytes(self) -> int:
        return self._max_dynamic_shared

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, nbytes: int) -> None:
        if not 0 <= nbytes <= MAX_SHARED_OPTIN:
            self._fail(f"max_dynamic_shared_size_bytes = {nbytes}: the device has {MAX_SHARED_OPTIN}")
        self._max_dynamic_shared = int(nbytes)

    def compile(self, log_stream: Any = None) -> None:
        """Compiles the kernel; otherwise done on the first launch."""
        self._entry(config.mode)

    def _fail(self, message: str) -> NoReturn:
        raise KernelError(f"kernel {self.name}: {message}")

    def _entry(self, mode: str) -> _Entry:
        entry = self._entries.get(mode)
        if entry is None:
            module = self._module._module(mode)
            entry = self._entries[mode] = _Entry(module, self._module._names.index(self.name))
        return entry

    def __call__(
        self, grid: Sequence[int], block: Sequence[int], args: Sequence[Any], *, shared_mem: int = 0, stream: Any = None
    ) -> None:
        raise_pending()
        settings = config
        with _LAUNCHING:
            entry = self._entries.get(settings.mode) or self._entry(settings.mode)
        grid, block = self._dimensions(grid, block)
        if shared_mem > self._max_dynamic_shared:
            self._fail(
                f"{shared_mem} bytes of dynamic shared memory, {self._max_dynamic_shared} are allowed "
                f"(max_dynamic_shared_size_bytes)"
            )
        if len(args) != len(entry.parameters):
            listing = ", ".join(map(str, entry.parameters))
            self._fail(f"{len(args)} arguments given, the kernel has {len(entry.parameters)}: ({listing})")

        values: list[Any] = []
        regions: list[bytes] = []
        for index, (arg, parameter) in enumerate(zip(args, entry.parameters, strict=True)):
            if parameter.is_pointer:
                values.append(self._pointer(index, arg, parameter, regions))
            else:
                values.append(self._scalar(index, arg, parameter, regions))
        order = _ORDERS.get(settings.order, _SHUFFLED)  # type: ignore[arg-type]
        launch = _Launch(
            entry.module.image,
            entry.call,
            entry.pack(*values),
            b"".join(regions),
            shared_mem,
            settings.order if order == _SHUFFLED else 0,
            settings.time_limit,
            grid,
            block,
            len(regions),
            order,
            settings.mode == "check",
            settings.strict,
            settings.poison,
            settings.edges,
        )
        message = ctypes.create_string_buffer(_MESSAGE_BYTES)
        offset = ctypes.c_size_t()
        with _LAUNCHING:
            failed = entry.module.launch(
                ctypes.byref(launch), message, ctypes.c_size_t(_MESSAGE_BYTES), ctypes.byref(offset)
            )
        if failed:
            line = toolchain.source_line(entry.module.path, offset.value)
            place = f" (line {line} of the kernel source)" if line else ""
            self._fail(message.value.decode(errors="replace") + place)

    def _dimensions(self, grid: Sequence[int], block: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The grid and block with three dimensions each, 0 made 1, as CuPy does."""
        grid = tuple([max(1, int(n)) for n in (*grid, 1, 1)[:3]])
        block = tuple([max(1, int(n)) for n in (*block, 1, 1)[:3]])
        if block[0] * block[1] * block[2] > 1024 or block[2] > 64:
            self._fail(f"a block of {block} threads, at most 1024 are allowed, and 64 in z")
        if grid[0] > _MAX_GRID[0] or grid[1] > _MAX_GRID[1] or grid[2] > _MAX_GRID[2]:
            self._fail(f"a grid of {grid} blocks, at most {_MAX_GRID} are allowed")
        return grid, block

    def _pointer(self, index: int, arg: Any, parameter: Parameter, regions: list[bytes]) -> int:
        """The address to be passed for an argument; the memory it gives access to is added to `regions`."""
        if isinstance(arg, np.ndarray) and self.accepts_host_arrays:
            arg = borrow(arg)
        if not isinstance(arg, ndarray):
            return self._address(index, arg, parameter, regions)
        host = arg._host
        if not parameter.accepts_elements(host.dtype):
            self._fail(f"argument {index} is an array of {host.dtype}, the kernel has {parameter}")
        pointer = arg.pointer
        begin, end = pointer, pointer + host.nbytes
        if not host.flags.c_contiguous and host.size:
            begin, end = byte_bounds(host)
        memory = arg._memory
        memory_begin, memory_end, fill = (
            (memory.address, memory.address + memory.nbytes, memory.fill) if memory else _UNGUARDED
        )
        writable = parameter.writable and host.flags.writeable
        regions.append(_REGION.pack(begin, end, memory_begin, memory_end, index, parameter.granule, writable, fill))
        if config.mode == "check" and _may_hold_addresses(host.dtype):
            self._add_reachable(host, regions)
        return pointer

    def _address(self, index: int, arg: Any, parameter: Parameter, regions: list[bytes]) -> int:
        """A pointer given as a number, a memory pointer or None."""
        if isinstance(arg, np.ndarray) and arg.size == 1 and arg.dtype.kind in "iu":
            arg = arg.reshape(-1)[0]
        if arg is None:
            return 0
        if isinstance(arg, np.ndarray):
            raise TypeError(
                f"kernel {self.name}: argument {index} is a host array (numpy.ndarray), the kernel has {parameter}: "
                f"copy it to the device first, by asarray()"
            )
        is_address = isinstance(arg, (int, MemoryPointer)) or (isinstance(arg, np.integer) and arg.itemsize == 8)
        if not is_address:
            self._fail(f"argument {index} is {_describe(arg)}, the kernel has {parameter}: pass a device array")
        address = int(arg)
        if address == 0:
            return 0
        allocation = allocation_containing(address)
        if allocation is None:
            self._fail(f"argument {index} is the address 0x{address:x}, which is in no live device array")
        begin, end = allocation
        regions.append(_REGION.pack(begin, end, 0, 0, index, parameter.granule, parameter.writable, 0))
        return address

    def _scalar(self, index: int, arg: Any, parameter: Parameter, regions: list[bytes]) -> bytes:
        """The bytes to be passed for an argument by value."""
        if isinstance(arg, ndarray):
            self._fail(f"argument {index} is an array, the kernel has {parameter} there")
        if isinstance(arg, np.ndarray) and arg.size != 1:
            raise TypeError(
                f"kernel {self.name}: argument {index} is a host array (numpy.ndarray) of {arg.size} elements, the "
                f"kernel has {parameter}: only arrays of size 1 are passed by value"
            )
        if not isinstance(arg, (np.generic, np.ndarray)):
            convert = next((convert for kind, convert in _FROM_PYTHON if isinstance(arg, kind)), None)
            if convert is None:
                self._fail(
                    f"argument {index} is {_describe(arg)}, the kernel has {parameter}: pass {parameter.advice()}"
                )
            arg = convert(arg)
        if not parameter.accepts_scalar(arg.dtype):
            self._fail(
                f"argument {index} is {arg.dtype} ({arg.dtype.itemsize} bytes), the kernel has {parameter} "
                f"({parameter.size} bytes): CUDA would read wrong bytes; pass {parameter.advice()}"
            )
        value = arg.tobytes()
        if parameter.kind == "s" and config.mode == "check":
            self._add_reachable(np.frombuffer(value, np.uint8), regions)
        return value

    @staticmethod
    def _add_reachable(table: np.ndarray, regions: list[bytes]) -> None:
        """Adds the live allocations whose addresses an argument holds, so that the kernel may follow them."""
        for begin, end in allocations_in_table(table):
            regions.append(_REGION.pack(begin, end, 0, 0, -1, _ANY_GRANULE, True, 0))


class RawKernel(Kernel):
    """A kernel with its own source; `cupy.RawKernel`'s interface.

    Args:
        code: the CUDA C++ source.
        name: of the kernel; of a template with its arguments, such as `"softmax<float>"`.
        options: for the compiler; `-D` and `-U` matter here, the rest is for NVRTC.
        backend: ignored.
    """

    def __init__(self, code: str, name: str, options: Iterable[str] = (), backend: str = "nvrtc", **_: Any):
        module = RawModule(code=code, options=options, name_expressions=(name,) if "<" in name else None)
        module.get_function(name)
        super().__init__(module, name)


def _may_hold_addresses(dtype: np.dtype) -> bool:
    return dtype.names is not None or (dtype.kind in "iu" and dtype.itemsize in (1, 8))


def _describe(value: Any) -> str:
    return f"{value.dtype} {value!r}" if isinstance(value, np.generic) else f"{type(value).__name__} {value!r}"
