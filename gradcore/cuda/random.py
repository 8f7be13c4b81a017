"""The random numbers of CUDA devices. They come from the default generator, which serves all devices."""

from __future__ import annotations

from collections.abc import Iterable

from ..devices import DeviceLike
from ..tensor.random import default_generator
from ..tensor.tensor import Tensor


def manual_seed(seed: int) -> None:
    """Seed the default generator."""
    default_generator.manual_seed(int(seed))


manual_seed_all = manual_seed


def get_rng_state(device: DeviceLike = "cuda") -> Tensor:
    """The state of the default generator, whatever the device."""
    return default_generator.get_state()


def get_rng_state_all() -> list[Tensor]:
    """A list of one: the state of the default generator."""
    return [default_generator.get_state()]


def set_rng_state(new_state: Tensor, device: DeviceLike = "cuda") -> None:
    """Restore the state of the default generator, whatever the device."""
    default_generator.set_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Restore the state of the default generator from what `get_rng_state_all` gave."""
    for state in new_states:
        default_generator.set_state(state)
