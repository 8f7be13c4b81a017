"""Random tensors, from counter-based generators: a seed and a count of draws determine every number."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dtypes
from ..autograd.batching import drawn
from ..autograd.grad_mode import mode
from ..autograd.tape import wrap
from ..autograd.variable import Variable
from ..backends import backend_for
from ..devices import DeviceLike
from ..devices import device as Device
from .creation import _floating, _size_of, finish, like

if TYPE_CHECKING:
    from .tensor import Tensor

# The functions of gradcore that are made here.
__all__ = [
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]


class Generator:
    """A stream of random numbers: `seed`, and how many draws were made.

    >>> g = Generator().manual_seed(0)
    >>> bool((rand(3, generator=g) == rand(3, generator=Generator().manual_seed(0))).all())
    True
    """

    def __init__(self, device: DeviceLike = "cpu"):
        self.device = Device(device)
        self._seed = 67280421310721
        self._offset = 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`, any integer of 64 bits."""
        if not -(2**63) <= seed < 2**64:
            raise ValueError(f"Overflow when unpacking long long: seed {seed} does not fit in 64 bits")
        self._seed, self._offset = seed & (2**64 - 1), 0
        return self

    def seed(self) -> int:
        """Start a stream at random; returns its seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._seed

    def get_state(self) -> Tensor:
        """The state as a tensor: seed and draws."""
        return wrap(np.array([self._seed, self._offset], np.uint64).view(np.int64))

    def set_state(self, state: Tensor) -> Generator:
        """Go back to a state from `get_state`, on whatever device it is.

        Raises:
            TypeError: `state` is no tensor, or one of another dtype.
            RuntimeError: it is one of another shape.
        """
        if not isinstance(state, Variable):
            raise TypeError(f"set_state(): expected a Tensor from get_state(), got {type(state).__name__}")
        host = state._host()
        if host.dtype != np.int64:
            raise TypeError(f"set_state(): expected a Tensor from get_state(), of int64, got one of {host.dtype}")
        if host.shape != (2,):
            raise RuntimeError(f"set_state(): expected a Tensor from get_state(), of 2 numbers, got {list(host.shape)}")
        self._seed, self._offset = (int(number) & (2**64 - 1) for number in host)
        return self

    def draw(self) -> tuple[int, int]:
        """The seed, and the number of this draw."""
        with self._lock:
            self._offset += 1
            return self._seed, self._offset


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator, which serves all devices."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator at random; returns the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    """Restore the state of the default generator."""
    default_generator.set_state(state)


def _backend(device: DeviceLike | None) -> Any:
    return backend_for(Device("cpu" if device is None else device))


def _drawn(shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Any], requires_grad: bool) -> Tensor:
    """A tensor of random numbers; within `vmap` as its `randomness` says."""
    if not mode.levels:
        return finish(draw(shape), requires_grad)
    return drawn(shape, lambda full: finish(draw(full), requires_grad))


def rand(
    *sizes: int | Sequence[int],
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1)."""
    d = _floating("rand", dtype)
    backend, source = _backend(device), generator or default_generator
    return _drawn(
        _size_of("rand", sizes, size), lambda shape: backend.uniform(shape, d.numpy, *source.draw()), requires_grad
    )


def randn(
    *sizes: int | Sequence[int],
    size: Sequence[int] | None = None,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from the standard normal distribution."""
    d = _floating("randn", dtype)
    backend, source = _backend(device), generator or default_generator
    return _drawn(
        _size_of("randn", sizes, size), lambda shape: backend.normal(shape, d.numpy, *source.draw()), requires_grad
    )


def randint(
    low: int | None = None,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Integers in [low, high), all equally likely: `randint(high, size)` or `randint(low, high, size)`."""
    if size is None and isinstance(high, (tuple, list)):
        low, high, size = None, low, high
    if high is None:
        low, high = None, low
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    start, stop = 0 if low is None else int(low), int(high)
    if start >= stop:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={start} >= to={stop}")
    d = dtypes.given("randint", dtype) or dtypes.int64
    _check_range("randint", d, start, stop - 1)
    shape = _size_of("randint", (size,))
    backend, source = _backend(device), generator or default_generator
    return _drawn(shape, lambda full: backend.integers(start, stop, full, d.numpy, *source.draw()), requires_grad)


def _check_range(op: str, dtype: dtypes.dtype, first: int, last: int) -> None:
    """RuntimeError unless `dtype`, if it is one of integers, holds the numbers from `first` to `last`."""
    if dtype.category == 1:
        limits = dtypes.iinfo(dtype)
        if first < limits.min or last > limits.max:
            raise RuntimeError(f"{op}(): {last if last > limits.max else first} is out of bounds for {dtype}")


def randperm(
    n: int, *, generator: Generator | None = None, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None
) -> Tensor:
    """The numbers 0 to n-1 in random order."""
    if n < 0:
        raise RuntimeError(f"randperm(): Trying to create tensor with negative dimension {n}: [{n}]")
    d = dtypes.given("randperm", dtype) or dtypes.int64
    _check_range("randperm", d, 0, n - 1)
    backend, source = _backend(device), generator or default_generator

    def draw(shape: tuple[int, ...]) -> Any:
        each = [backend.permutation(n, d.numpy, *source.draw()) for _ in range(math.prod(shape[:-1]))]
        return backend.xp.stack(each).reshape(shape) if shape[:-1] else each[0]

    return _drawn((n,), draw, False)


def rand_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """`rand` in the shape, dtype and place of `input`."""
    d, backend = like("rand_like", input, dtype, device)
    return rand(size=input.shape, dtype=d, device=backend.device, requires_grad=requires_grad)


def randn_like(
    input: Tensor, *, dtype: dtypes.dtype | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """`randn` in the shape, dtype and place of `input`."""
    d, backend = like("randn_like", input, dtype, device)
    return randn(size=input.shape, dtype=d, device=backend.device, requires_grad=requires_grad)


def randint_like(
    input: Tensor,
    low: int,
    high: int | None = None,
    *,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
) -> Tensor:
    """`randint` in the shape, dtype and place of `input`."""
    d, backend = like("randint_like", input, dtype, device)
    return randint(low, high, input.shape, dtype=d, device=backend.device)
