"""Tensors: the class, its methods, and the functions that make and use them."""

from . import creation, exchange, norms, printing, random, sampling, statistics  # noqa: F401

from . import methods  # isort: skip  (it installs what the others declare)
from .functions import FUNCTIONS
from .random import Generator, default_generator
from .size import Size
from .tensor import Tensor

_MAKERS = (creation, exchange, random, sampling, printing)
# The functions that are no ops, by name.
CREATION = {name: vars(module)[name] for module in _MAKERS for name in module.__all__}

__all__ = [
    "CREATION",
    "FUNCTIONS",
    "Generator",
    "Size",
    "Tensor",
    "default_generator",
    "methods",
    "norms",
    "statistics",
]
