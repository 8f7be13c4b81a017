"""Tensors: the class, its methods, and the functions that make and use them."""

from . import methods
from .creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from .functions import FUNCTIONS
from .printing import get_printoptions, set_printoptions
from .random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from .size import Size
from .tensor import Tensor

CREATION = {
    f.__name__: f
    for f in (
        arange,
        as_tensor,
        empty,
        empty_like,
        eye,
        from_numpy,
        full,
        full_like,
        linspace,
        ones,
        ones_like,
        tensor,
        zeros,
        zeros_like,
        get_printoptions,
        set_printoptions,
        get_rng_state,
        initial_seed,
        manual_seed,
        rand,
        rand_like,
        randint,
        randint_like,
        randn,
        randn_like,
        randperm,
        seed,
        set_rng_state,
    )
}

__all__ = ["CREATION", "FUNCTIONS", "Generator", "Size", "Tensor", "default_generator", "methods"]
