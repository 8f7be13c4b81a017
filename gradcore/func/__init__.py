"""Transforms of functions: gradients, Jacobians and Hessians that compose; modules as functions of their parameters.

>>> import gradcore as torch
>>> from gradcore.func import grad
>>> grad(grad(lambda x: x**3))(torch.tensor(2.0))
tensor(12.)
"""

from .modules import functional_call, stack_module_state
from .transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from .vmap import vmap

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "vjp",
    "vmap",
]
