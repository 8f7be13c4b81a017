"""Random tensors, from counter-based generators: a seed and a count of draws determine every number."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from .. import dtypes
from ..autograd.tape import wrap
from ..backends import backend_for
from ..devices import device as Device
from .creation import _floating, _size_of, finish


class Generator:
    """A stream of random numbers: `seed`, and how many draws were made.

    >>> g = Generator().manual_seed(0)
    >>> bool((rand(3, generator=g) == rand(3, generator=Generator().manual_seed(0))).all())
    True
    """

    def __init__(self, device: Any = "cpu"):
        self.device = Device(device)
        self._seed = 67280421310721
        self._offset = 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of `seed`, any integer of 64 bits."""
        if not -(2**63) <= seed < 2**64:
            raise RuntimeError(f"Overflow when unpacking long long: seed {seed} does not fit in 64 bits")
        self._seed, self._offset = seed & (2**64 - 1), 0
        return self

    def seed(self) -> int:
        """Start a stream at random; returns its seed."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return self._seed

    def initial_seed(self) -> int:
        """The seed of the stream."""
        return self._seed

    def get_state(self) -> Any:
        """The state as a tensor: seed and draws."""
        return wrap(np.array([self._seed, self._offset], np.uint64).view(np.int64))

    def set_state(self, state: Any) -> Generator:
        """Go back to a state from `get_state`."""
        seed, offset = state.numpy().view(np.uint64)
        self._seed, self._offset = int(seed), int(offset)
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


def get_rng_state() -> Any:
    """The state of the default generator."""
    return default_generator.get_state()


def set_rng_state(state: Any) -> None:
    """Restore the state of the default generator."""
    default_generator.set_state(state)


def _backend(device: Any) -> Any:
    return backend_for(Device("cpu" if device is None else device))


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Uniform numbers in [0, 1)."""
    d = _floating("rand", dtype)
    array = _backend(device).uniform(_size_of("rand", size), d.numpy, *(generator or default_generator).draw())
    return finish(array, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """Numbers from the standard normal distribution."""
    d = _floating("randn", dtype)
    array = _backend(device).normal(_size_of("randn", size), d.numpy, *(generator or default_generator).draw())
    return finish(array, requires_grad)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Any:
    """Integers in [low, high), all equally likely: `randint(high, size)` or `randint(low, high, size)`."""
    if size is None:
        if isinstance(high, int) or high is None:
            raise TypeError("randint() missing 1 required positional arguments: \"size\"")
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    d = dtype or dtypes.int64
    draw = (generator or default_generator).draw()
    return finish(_backend(device).integers(low, high, tuple(size), d.numpy, *draw), requires_grad)


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, device: Any = None) -> Any:
    """The numbers 0 to n-1 in random order."""
    d = dtype or dtypes.int64
    return finish(_backend(device).permutation(n, d.numpy, *(generator or default_generator).draw()), False)


def rand_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """`rand` in the shape, dtype and place of `input`."""
    return rand(*input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randn_like(input: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Any:
    """`randn` in the shape, dtype and place of `input`."""
    return randn(*input.shape, dtype=dtype or input.dtype, device=device or input.device, requires_grad=requires_grad)


def randint_like(input: Any, low: int, high: int | None = None, *, dtype: Any = None, device: Any = None) -> Any:
    """`randint` in the shape, dtype and place of `input`."""
    return randint(low, high, tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device) if (
        high is not None
    ) else randint(0, low, tuple(input.shape), dtype=dtype or input.dtype, device=device or input.device)
