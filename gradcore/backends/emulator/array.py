"""The array of the emulated device: `cupy.ndarray`'s interface on guarded host memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import dlpack
from . import allocator
from .allocator import MemoryPointer
from .memory import DeviceMemory

_HALVES = frozenset({"float16", "bfloat16"})
_new_host: Any = np.ndarray
_HOST_SCALARS = (bool, int, float, complex, np.generic)


# ---------------------------------------------------------------- making arrays


def _wrap_memory(memory: DeviceMemory | None, host: np.ndarray, base: ndarray | None, pointer: int | None) -> ndarray:
    array = ndarray.__new__(ndarray)
    array._host = host
    array._memory = memory
    array._pointer = pointer
    array.base = base
    return array


def allocate(shape: tuple[int, ...], dtype: np.dtype, order: str = "C", poison: bool = True) -> ndarray:
    """An uninitialised array: filled with NaN, or with what looks like it in other types."""
    memory = allocator.alloc(math.prod(shape) * dtype.itemsize).mem
    if poison:
        memory.poison()
    host = _new_host(shape, dtype, memory.raw, memory.offset, None, order)
    return _wrap_memory(memory, host, None, memory.address)


def from_host(host: np.ndarray, order: str = "K", dtype: Any = None) -> ndarray:
    """A copy of a host array on the device, converted to `dtype` if one is given."""
    fortran = host.flags.fnc if order in "KA" else order == "F"
    dtype = host.dtype if dtype is None else np.dtype(dtype)
    array = allocate(host.shape, dtype, "F" if fortran else "C", poison=False)
    with np.errstate(all="ignore"):
        np.copyto(array._host, host, casting="unsafe")
    return array


def borrow(host: np.ndarray) -> ndarray:
    """A host array's own memory as a device array: not copied, and without guard zones."""
    return _wrap_memory(None, host, None, None)


def wrap(result: Any, sources: Any) -> Any:
    """The device's form of what a NumPy function returned for the arrays `sources`.

    A view of a source's memory becomes a view of it, other arrays and scalars are copied to the device.
    """
    if isinstance(result, np.ndarray):
        if result.base is not None:  # else it is no view, but new
            for source in sources:
                host = source._host
                if result is host:
                    return source
                if np.may_share_memory(result, host):
                    if host.flags.writeable and not result.flags.writeable:  # as what np.broadcast_to returns
                        result.flags.writeable = True
                    return _wrap_memory(source._memory, result, source if source.base is None else source.base, None)
        return from_host(result)
    if isinstance(result, np.generic):
        return from_host(np.asarray(result))
    if type(result) is tuple:
        return tuple(wrap(item, sources) for item in result)
    if type(result) is list:
        return [wrap(item, sources) for item in result]
    if isinstance(result, tuple):  # a named tuple, as of np.unique_all or np.linalg.svd
        return type(result)(*(wrap(item, sources) for item in result))
    return result


def unsupported(value: Any) -> TypeError:
    """The error for a host array among device arrays."""
    return TypeError(f"Unsupported type {type(value)}: copy it to the device first, by asarray()")


def unwrap(value: Any, sources: list[ndarray] | None = None) -> Any:
    """The host's form of an argument; the device arrays in it are appended to `sources`."""
    if isinstance(value, ndarray):
        if sources is not None:
            sources.append(value)
        return value._host
    if isinstance(value, np.ndarray):
        raise unsupported(value)
    if isinstance(value, (list, tuple)):
        return type(value)([unwrap(item, sources) for item in value])
    return value


def _unwrap_key(key: Any) -> Any:
    if isinstance(key, ndarray):
        return key._host
    if isinstance(key, tuple):
        return tuple(part._host if isinstance(part, ndarray) else part for part in key)
    return key


def call(function: Callable, args: Any, kwargs: Any) -> Any:
    """Calls a NumPy function on device arrays; host arrays among them raise TypeError."""
    sources: list[ndarray] = []
    host_args = [unwrap(arg, sources) for arg in args]
    host_kwargs = {name: unwrap(value, sources) for name, value in kwargs.items()}
    with np.errstate(all="ignore"):
        return wrap(function(*host_args, **host_kwargs), sources)


def _reshape_view(host: np.ndarray, shape: Any) -> np.ndarray:
    view = host.reshape(shape)
    if not np.may_share_memory(view, host):
        raise AttributeError("incompatible shape for a non-contiguous array")
    return view


# ---------------------------------------------------------------- methods that are NumPy's


def accumulated(function: Callable) -> Callable:
    """`function`, accumulating float16 and bfloat16 in float32, as CuPy does."""

    def accumulate(array: Any, axis: Any = None, dtype: Any = None, out: Any = None, **kwargs: Any) -> Any:
        given = getattr(array, "dtype", None)
        if dtype is None and out is None and given is not None and given.name in _HALVES:
            result = call(function, (array,), {"axis": axis, "dtype": np.float32, **kwargs})
            return result.astype(given)
        return call(function, (array,), {"axis": axis, "dtype": dtype, "out": out, **kwargs})

    return accumulate


def matmul(a: Any, b: Any, out: ndarray | None = None) -> ndarray:
    """The matrix product; float16 and bfloat16 are accumulated in float32.

    Raises:
        TypeError: for batches of bfloat16 matrices, which CuPy does not multiply.
    """
    for operand in (a, b):
        if not isinstance(operand, ndarray):
            raise unsupported(operand)
    dtype = np.result_type(a.dtype, b.dtype)
    if dtype.name not in _HALVES:
        return call(np.matmul, (a, b), {"out": out})
    if dtype.name == "bfloat16" and max(a.ndim, b.ndim) > 2:
        raise TypeError("matmul: CuPy does not multiply batches of bfloat16 matrices; convert them, or call cuBLAS")
    result = call(np.matmul, (a.astype(np.float32), b.astype(np.float32)), {}).astype(dtype)
    if out is None:
        return result
    out[...] = result
    return out


def _method(name: str) -> Any:
    function = getattr(np.ndarray, name)

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        return call(function, (self, *args), kwargs)

    return method


def _sorting(function: Callable) -> Any:
    def method(self: ndarray, axis: int | None = -1, kind: str | None = None) -> Any:
        if kind not in (None, "stable"):
            raise ValueError(f"kind can only be None or 'stable', not {kind!r}: CuPy sorts stably")
        return call(function, (self, axis), {"kind": "stable"})

    return method


def _defers_to(other: Any) -> bool:
    """Whether an operator is left to the other operand, by NumPy's rules."""
    if isinstance(other, (ndarray, np.ndarray, *_HOST_SCALARS)):
        return False
    if getattr(other, "__array_ufunc__", False) is None:
        return True
    return getattr(other, "__array_priority__", -1) > ndarray.__array_priority__


def _operator(function: Callable) -> Any:
    def operate(self: ndarray, other: Any) -> Any:
        return NotImplemented if _defers_to(other) else call(function, (self, other), {})

    return operate


def _reflected(function: Callable) -> Any:
    def operate(self: ndarray, other: Any) -> Any:
        return NotImplemented if _defers_to(other) else call(function, (other, self), {})

    return operate


def _in_place(function: Callable) -> Any:
    def operate(self: ndarray, other: Any) -> Any:
        return NotImplemented if _defers_to(other) else call(function, (self, other), {"out": self})

    return operate


def _unary(function: Callable) -> Any:
    def operate(self: ndarray) -> Any:
        return call(function, (self,), {})

    return operate


class _Lent(np.ndarray):
    """The memory of a device array, which it keeps alive."""

    lender: Any = None

    def __array_finalize__(self, source: Any) -> None:
        self.lender = getattr(source, "lender", None)


class ndarray:
    """An array in the emulated device's memory.

    Made by the functions of `gradcore.backends.emulator.api`, not by its constructor. As with CuPy nothing is copied
    to or from the host implicitly: `get()` and `api.asnumpy` copy to the host, `api.asarray` and `set()` to the
    device. Reductions return zero-dimensional arrays. Unlike CuPy, an index out of range raises IndexError.
    """

    __slots__ = ("__weakref__", "_host", "_memory", "_pointer", "base")
    __array_priority__ = 100

    _host: np.ndarray
    _memory: DeviceMemory | None  # None: borrowed from the host
    _pointer: int | None
    base: ndarray | None

    # ------------------------------------------------------------ attributes
    @property
    def shape(self) -> tuple[int, ...]:
        return self._host.shape

    @shape.setter
    def shape(self, value: Any) -> None:
        self._host = _reshape_view(self._host, value)

    @property
    def dtype(self) -> np.dtype:
        return self._host.dtype

    @property
    def strides(self) -> tuple[int, ...]:
        return self._host.strides

    @property
    def ndim(self) -> int:
        return self._host.ndim

    @property
    def size(self) -> int:
        return self._host.size

    @property
    def nbytes(self) -> int:
        return self._host.nbytes

    @property
    def itemsize(self) -> int:
        return self._host.itemsize

    @property
    def flags(self) -> Any:
        return self._host.flags

    @property
    def T(self) -> ndarray:  # noqa: N802
        return self.transpose()

    @property
    def real(self) -> ndarray:
        return wrap(self._host.real, (self,))

    @property
    def imag(self) -> ndarray:
        return wrap(self._host.imag, (self,))

    @property
    def data(self) -> MemoryPointer:
        return MemoryPointer(self._memory, self.pointer)

    @property
    def device(self) -> Any:
        from .cuda import Device

        return Device(0)

    @property
    def pointer(self) -> int:
        """The address of the first element."""
        if self._pointer is None:
            self._pointer = self._host.ctypes.data
        return self._pointer

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        host = self._host
        return {
            "shape": host.shape,
            "typestr": host.dtype.str,
            "descr": host.dtype.descr,
            "strides": None if host.flags.c_contiguous else host.strides,
            "data": (self.pointer, False),
            "version": 3,
            "stream": 1,
        }

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if copy:
            return self.copy().__dlpack__(max_version=max_version)
        lent = self._host.view(_Lent)
        lent.lender = self
        capsule = dlpack.lend(lent, max_version)
        dlpack.describe(capsule).device_type = dlpack.CUDA
        return capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.CUDA, 0

    # ------------------------------------------------------------ to and from the host
    def get(self, stream: Any = None, order: Any = "C", out: np.ndarray | None = None, blocking: bool = True) -> Any:
        """A copy in host memory."""
        if out is None:
            return self._host.copy(order=order)
        if out.shape != self.shape or out.dtype != self.dtype:
            raise ValueError(f"get(): out has {out.dtype} {out.shape}, the array {self.dtype} {self.shape}")
        out[...] = self._host
        return out

    def set(self, array: np.ndarray, stream: Any = None) -> None:
        """Copies a host array of the same shape and dtype here."""
        if not isinstance(array, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if array.dtype != self.dtype:
            raise TypeError(f"{array.dtype} array cannot be set to {self.dtype} array")
        if array.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {array.shape}")
        if not self.flags.forc:
            raise RuntimeError("Cannot set to non-contiguous array")
        self._host[...] = array

    def item(self, *index: Any) -> Any:
        return self._host.item(*index)

    def tolist(self) -> Any:
        return self._host.tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self._host.tobytes(order)  # type: ignore[arg-type]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host.item())

    def __float__(self) -> float:
        return float(self._host.item())

    def __complex__(self) -> complex:
        return complex(self._host.item())

    def __index__(self) -> int:
        return self._host.__index__()

    def __repr__(self) -> str:
        return repr(self._host)

    def __str__(self) -> str:
        return str(self._host)

    def __format__(self, spec: str) -> str:
        return format(self._host, spec)

    def __reduce__(self) -> Any:
        return from_host, (self._host.copy(),)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    # ------------------------------------------------------------ items
    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._host)))

    def __getitem__(self, key: Any) -> Any:
        host_key = _unwrap_key(key)
        result = self._host[host_key]
        if isinstance(result, np.generic):  # where NumPy copies one element, CuPy gives a view
            result = self._host[(*host_key, ...) if isinstance(host_key, tuple) else (host_key, ...)]
        return wrap(result, (self,))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, np.ndarray) and isinstance(key, slice) and key == slice(None):
            # The one assignment of a host array that CuPy allows.
            if (value.shape, value.dtype) != (self.shape, self.dtype) or not self.flags.forc:
                raise ValueError(
                    "copying a numpy.ndarray to a cupy.ndarray by empty slice assignment must ensure arrays have "
                    "same shape and dtype"
                )
        else:
            value = unwrap(value)
        with np.errstate(all="ignore"):
            self._host[_unwrap_key(key)] = value

    # ------------------------------------------------------------ shape
    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return wrap(self._host.reshape(*shape, order=order), (self,))  # type: ignore[call-overload]

    def view(self, dtype: Any = None) -> ndarray:
        return wrap(self._host.view() if dtype is None else self._host.view(dtype), (self,))

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, copy: bool = True) -> ndarray:
        if not copy and self.dtype == dtype:
            return self
        return from_host(self._host, order, dtype)

    def copy(self, order: str = "C") -> ndarray:
        return from_host(self._host, order)

    def fill(self, value: Any) -> None:
        self._host.fill(unwrap(value))

    # ------------------------------------------------------------ methods that are NumPy's
    transpose = _method("transpose")
    swapaxes = _method("swapaxes")
    squeeze = _method("squeeze")
    ravel = _method("ravel")
    flatten = _method("flatten")
    max = _method("max")
    min = _method("min")
    argmax = _method("argmax")
    argmin = _method("argmin")
    all = _method("all")
    any = _method("any")
    argsort = _sorting(np.ndarray.argsort)
    nonzero = _method("nonzero")
    take = _method("take")
    repeat = _method("repeat")
    choose = _method("choose")
    clip = _method("clip")
    round = _method("round")
    conj = _method("conj")
    diagonal = _method("diagonal")
    trace = _method("trace")
    compress = _method("compress")
    searchsorted = _method("searchsorted")
    sort = _sorting(np.ndarray.sort)
    partition = _method("partition")
    argpartition = _method("argpartition")
    put = _method("put")
    sum = accumulated(np.ndarray.sum)
    prod = accumulated(np.ndarray.prod)
    mean = accumulated(np.ndarray.mean)
    var = accumulated(np.ndarray.var)
    std = accumulated(np.ndarray.std)
    cumsum = accumulated(np.ndarray.cumsum)
    cumprod = accumulated(np.ndarray.cumprod)

    # ------------------------------------------------------------ operators
    __add__ = _operator(np.add)
    __radd__ = _reflected(np.add)
    __iadd__ = _in_place(np.add)
    __sub__ = _operator(np.subtract)
    __rsub__ = _reflected(np.subtract)
    __isub__ = _in_place(np.subtract)
    __mul__ = _operator(np.multiply)
    __rmul__ = _reflected(np.multiply)
    __imul__ = _in_place(np.multiply)
    __truediv__ = _operator(np.true_divide)
    __rtruediv__ = _reflected(np.true_divide)
    __itruediv__ = _in_place(np.true_divide)
    __floordiv__ = _operator(np.floor_divide)
    __rfloordiv__ = _reflected(np.floor_divide)
    __ifloordiv__ = _in_place(np.floor_divide)
    __mod__ = _operator(np.remainder)
    __rmod__ = _reflected(np.remainder)
    __imod__ = _in_place(np.remainder)
    __pow__ = _operator(np.power)
    __rpow__ = _reflected(np.power)
    __ipow__ = _in_place(np.power)
    __lshift__ = _operator(np.left_shift)
    __rlshift__ = _reflected(np.left_shift)
    __ilshift__ = _in_place(np.left_shift)
    __rshift__ = _operator(np.right_shift)
    __rrshift__ = _reflected(np.right_shift)
    __irshift__ = _in_place(np.right_shift)
    __and__ = _operator(np.bitwise_and)
    __rand__ = _reflected(np.bitwise_and)
    __iand__ = _in_place(np.bitwise_and)
    __or__ = _operator(np.bitwise_or)
    __ror__ = _reflected(np.bitwise_or)
    __ior__ = _in_place(np.bitwise_or)
    __xor__ = _operator(np.bitwise_xor)
    __rxor__ = _reflected(np.bitwise_xor)
    __ixor__ = _in_place(np.bitwise_xor)
    __divmod__ = _operator(np.divmod)
    __neg__ = _unary(np.negative)
    __pos__ = _unary(np.positive)
    __abs__ = _unary(np.absolute)
    __invert__ = _unary(np.invert)
    __lt__ = _operator(np.less)
    __le__ = _operator(np.less_equal)
    __gt__ = _operator(np.greater)
    __ge__ = _operator(np.greater_equal)
    __eq__ = _operator(np.equal)
    __ne__ = _operator(np.not_equal)
    __hash__ = None  # type: ignore[assignment]

    def __matmul__(self, other: Any) -> ndarray:
        return NotImplemented if _defers_to(other) else matmul(self, other)

    def dot(self, other: Any, out: ndarray | None = None) -> ndarray:
        return call(np.dot, (self, other), {"out": out})

    # ------------------------------------------------------------ NumPy's protocols
    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(_defers_to(value) for value in inputs):
            return NotImplemented
        # `np.float32(1) < array` arrives with an array of no dimensions in the scalar's place.
        inputs = tuple(x[()] if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
        if ufunc is np.matmul and method == "__call__":
            return matmul(*inputs, **kwargs)
        return call(getattr(ufunc, method), inputs, kwargs)

    def __array_function__(self, function: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        return call(function, args, kwargs)
