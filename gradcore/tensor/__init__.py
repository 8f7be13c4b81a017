"""Tensors: the class, its methods, and the functions that make and use them."""

from . import creation, methods, printing, random
from .functions import FUNCTIONS
from .random import Generator, default_generator
from .size import Size
from .tensor import Tensor

# The functions that are no ops, by name.
CREATION = {name: vars(module)[name] for module in (creation, random, printing) for name in module.__all__}

__all__ = ["CREATION", "FUNCTIONS", "Generator", "Size", "Tensor", "default_generator", "methods"]
