"""Products with Jacobians and Hessians of a function of tensors, and the matrices themselves.

These are PyTorch's `torch.autograd.functional`: tensors or tuples of them go in and come out, and a gradient that does
not exist is zero unless `strict`. `gradcore.func` has the same as transforms that compose.

>>> import gradcore as torch
>>> torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))
tensor([[2., 0.],
        [0., 4.]])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .derivatives import Tangents, filled_like, gradients, jacobian_by_rows, rows, stacked, variable_of
from .derivatives import jacobian as at_once
from .grad_mode import enable_grad
from .tape import wants_grad
from .variable import Variable

Tensors = Any  # a tensor, or a tuple of tensors

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

_STRATEGIES = ("forward-mode", "reverse-mode")
_OUTPUTS = "outputs of the user-provided function"


# ---------------------------------------------------------------- what goes in and comes out
def _as_tuple(x: Any, what: str, name: str) -> tuple[bool, tuple[Any, ...]]:
    """Whether `x` is a tuple, and `x` as a tuple of tensors."""
    several = isinstance(x, tuple)
    values = x if several else (x,)
    for i, value in enumerate(values):
        if not isinstance(value, Variable):
            which = f"value at index {i}" if several else f"given {what}"
            raise TypeError(
                f"The {what} given to {name} must be either a Tensor or a tuple of Tensors but the {which} has type "
                f"{type(value)}."
            )
    return several, values


def _inputs(inputs: Any, name: str, create_graph: bool) -> tuple[bool, tuple[Any, ...]]:
    several, values = _as_tuple(inputs, "inputs", name)
    return several, tuple([variable_of(t, connected=create_graph) for t in values])


def _vector(v: Any, like: Sequence[Any], several: bool, name: str, create_graph: bool) -> tuple[Any, ...]:
    """The vector `v`, which is to have the shapes of `like`."""
    _, values = _as_tuple(v, "v", name)
    if len(values) != len(like):
        if several:
            raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(values)}.")
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (given, other) in enumerate(zip(values, like)):
        if given.shape != other.shape:
            where = f"Entry {i} in " if several else ""
            raise RuntimeError(f"{where}v has invalid size: should be {other.shape} but got {given.shape}.")
    return values if create_graph else tuple([t.detach() for t in values])


def _input_vector(v: Any, like: Sequence[Any], several: bool, name: str, create_graph: bool) -> tuple[Any, ...]:
    """As `_vector`, for a vector that may be left out if there is one input of one element."""
    if v is not None:
        return _vector(v, like, several, name, create_graph)
    if len(like) != 1 or like[0].numel() != 1:
        raise RuntimeError(
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a single "
            "element."
        )
    return (filled_like(like[0], 1),)


def _result(values: Sequence[Any], several: bool, create_graph: bool) -> Any:
    made = tuple(values) if create_graph else tuple([t.detach() for t in values])
    return made if several else made[0]


def _matrix(blocks: Sequence[Sequence[Any]], outputs: bool, inputs: bool, create_graph: bool) -> Any:
    """Blocks by output and input, without the levels of tuples that the user's function does not have."""
    made = tuple([_result(row, inputs, create_graph) for row in blocks])
    return made if outputs else made[0]


# ---------------------------------------------------------------- strict mode
_INDEPENDENT = (
    "The output of the user-provided function is independent of input {i}. This is not allowed in strict mode."
)
_NO_GRAPH = {
    "outputs": (
        "Output {i} of the user-provided function does not require gradients. The outputs must be computed in a "
        "differentiable manner from the input when running in strict mode."
    ),
    "grad_inputs": (
        "The gradient with respect to input {i} is independent of the inputs of the user-provided function. This is "
        "not allowed in strict mode."
    ),
    "jacobian": (
        "While computing the hessian, found that the jacobian of the user-provided function with respect to input {i} "
        "is independent of the input. This is not allowed in strict mode. You should ensure that your function is "
        "twice differentiable and that the jacobian depends on the inputs (this would be violated by a linear function "
        "for example)."
    ),
}
_MISSING = {
    "back": _INDEPENDENT,
    "back_trick": (
        "The gradient with respect to the input is independent of entry {i} in the grad_outputs when using the double "
        "backward trick to compute forward mode gradients. This is not allowed in strict mode."
    ),
    "double_back": (
        "The jacobian of the user-provided function is independent of input {i}. This is not allowed in strict mode."
    ),
    "double_back_trick": (
        "The hessian of the user-provided function is independent of entry {i} in the grad_jacobian. This is not "
        "allowed in strict mode as it prevents from using the double backward trick to replace forward mode AD."
    ),
}
_CONSTANT = (
    "The {what} of the user-provided function is independent of input {i}. This is not allowed in strict mode when "
    "create_graph=True."
)


def _check_history(tensors: Sequence[Any], what: str, strict: bool) -> None:
    """RuntimeError, under `strict`, for tensors that depend on no input."""
    if not strict:
        return
    for i, t in enumerate(tensors):
        if t is None:
            raise RuntimeError(_INDEPENDENT.format(i=i))
        if not wants_grad(t):
            raise RuntimeError(_NO_GRAPH[what].format(i=i))


def _with_zeros(found: Sequence[Any], like: Sequence[Any], strict: bool, create_graph: bool, stage: str) -> list[Any]:
    """`found` with zeros where there is None; under `strict` these are errors."""
    made = []
    for i, (g, other) in enumerate(zip(found, like)):
        if strict and g is None:
            raise RuntimeError(_MISSING[stage].format(i=i))
        if strict and create_graph and not wants_grad(g):
            raise RuntimeError(_CONSTANT.format(what="hessian" if "double" in stage else "jacobian", i=i))
        made.append(filled_like(other) if g is None else g)
    return made


# ---------------------------------------------------------------- products
def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product of the vector `v` with the Jacobian of `func` at `inputs`.

    Args:
        func: takes tensors, returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of tensors.
        v: of the shapes of the outputs; may be left out for a single output of one element.
        create_graph: record the computation, so that the results can be differentiated.
        strict: RuntimeError, instead of zeros, if an output is independent of an input.

    Returns:
        The outputs of `func`, and the product: a tensor, or a tuple, as `inputs` are.

    >>> import gradcore as torch
    >>> torch.autograd.functional.vjp(torch.exp, torch.zeros(2), torch.tensor([1.0, 2.0]))
    (tensor([1., 1.]), tensor([1., 2.]))
    """
    with enable_grad():
        several_in, ins = _inputs(inputs, "vjp", create_graph)
        several_out, outputs = _as_tuple(func(*ins), _OUTPUTS, "vjp")
        _check_history(outputs, "outputs", strict)
        vector = None
        if v is not None:
            vector = _vector(v, outputs, several_out, "vjp", create_graph)
        elif len(outputs) != 1 or outputs[0].numel() != 1:
            raise RuntimeError(
                "The vector v can only be None if the user-provided function returns a single Tensor with a single "
                "element."
            )
    found = gradients(outputs, ins, vector, create_graph=create_graph)
    product = _with_zeros(found, ins, strict, create_graph, "back")
    return _result(outputs, several_out, create_graph), _result(product, several_in, create_graph)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product of the Jacobian of `func` at `inputs` with the vector `v`, by two backward passes.

    Args:
        v: of the shapes of the inputs; may be left out for a single input of one element.

    The other arguments are those of `vjp`.

    Returns:
        The outputs of `func`, and the product: a tensor, or a tuple, as the outputs are.

    >>> import gradcore as torch
    >>> torch.autograd.functional.jvp(lambda x: x.sum() * x, torch.ones(2), torch.tensor([1.0, 0.0]))
    (tensor([2., 2.]), tensor([3., 1.]))
    """
    with enable_grad():
        several_in, ins = _inputs(inputs, "jvp", create_graph)
        vector = _input_vector(v, ins, several_in, "jvp", create_graph)
        several_out, outputs = _as_tuple(func(*ins), _OUTPUTS, "jvp")
        _check_history(outputs, "outputs", strict)
        tangents = Tangents(outputs, ins)
        _check_history(tangents.transposed, "grad_inputs", strict)
    product = _with_zeros(tangents.of(vector, create_graph), outputs, strict, create_graph, "back_trick")
    return _result(outputs, several_out, create_graph), _result(product, several_out, create_graph)


def _scalar(func: Callable[..., Any], ins: Sequence[Any], name: str, strict: bool) -> Any:
    """The single output of one element of a function that has a Hessian."""
    several, outputs = _as_tuple(func(*ins), _OUTPUTS, name)
    _check_history(outputs, "outputs", strict)
    if several:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {name} should contain a single element")
    return outputs[0]


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product of the vector `v` with the Hessian of the scalar function `func` at `inputs`.

    Arguments as for `jvp`; `func` returns a tensor of one element.

    Returns:
        The output of `func`, and the product: a tensor, or a tuple, as `inputs` are.

    >>> import gradcore as torch
    >>> torch.autograd.functional.vhp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    with enable_grad():
        several, ins = _inputs(inputs, "vhp", create_graph)
        vector = _input_vector(v, ins, several, "vhp", create_graph)
        output = _scalar(func, ins, "vhp", strict)
        gradient = gradients((output,), ins, create_graph=True)
        _check_history(gradient, "jacobian", strict)
    found = gradients(gradient, ins, vector, create_graph=create_graph)
    product = _with_zeros(found, ins, strict, create_graph, "double_back")
    return _result((output,), False, create_graph), _result(product, several, create_graph)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Tensors = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The product of the Hessian of the scalar function `func` at `inputs` with the vector `v`.

    The Hessian is symmetric, so that this is what `vhp` gives, at less cost; it is computed as the name says, by
    differentiating `v` times the Hessian with respect to `v`. Arguments and results as for `vhp`.

    >>> import gradcore as torch
    >>> torch.autograd.functional.hvp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))
    (tensor(9.), tensor([ 6., 12.]))
    """
    with enable_grad():
        several, ins = _inputs(inputs, "hvp", create_graph)
        vector = _input_vector(v, ins, several, "hvp", create_graph)
        output = _scalar(func, ins, "hvp", strict)
        gradient = gradients((output,), ins, create_graph=True)
        _check_history(gradient, "jacobian", strict)
        tangents = Tangents([filled_like(t) if g is None else g for g, t in zip(gradient, ins)], ins)
    product = _with_zeros(tangents.of(vector, create_graph), ins, strict, create_graph, "double_back_trick")
    return _result((output,), False, create_graph), _result(product, several, create_graph)


# ---------------------------------------------------------------- matrices
def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of `func` at `inputs`.

    Args:
        func: takes tensors, returns a tensor or a tuple of them.
        inputs: a tensor or a tuple of tensors.
        create_graph: record the computation, so that the result can be differentiated.
        strict: RuntimeError, instead of zeros, if an output is independent of an input.
        vectorize: compute all rows by one backward pass, with `vmap`: faster, for more memory. The forward-mode
            strategy does so in any case.
        strategy: `"reverse-mode"`, one backward pass for each element of the outputs, or `"forward-mode"`, two for each
            element of the inputs: for functions with more outputs than inputs.

    Returns:
        A tensor of shape `output.shape + input.shape`; for a tuple of inputs a tuple of those, for a tuple of outputs a
        tuple of either.
    """
    if strategy not in _STRATEGIES:
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your function has more outputs '
            'than inputs, "forward-mode" tends to be more performant. Otherwise, prefer to use "reverse-mode".'
        )
    forward = strategy == "forward-mode"
    if forward and create_graph:
        raise NotImplementedError(
            'gradcore.autograd.functional.jacobian: `create_graph=True` and `strategy="forward-mode"` are not '
            'supported together (yet). Please either set `create_graph=False` or `strategy="reverse-mode"`.'
        )
    if forward and strict:
        raise RuntimeError(
            'gradcore.autograd.functional.jacobian: `strict=True` and `strategy="forward-mode"` are not supported '
            'together (yet). Please either set `strict=False` or `strategy="reverse-mode"`.'
        )
    if vectorize and strict:
        raise RuntimeError(
            "gradcore.autograd.functional.jacobian: `strict=True` and `vectorized=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`."
        )
    with enable_grad():
        several_in, ins = _inputs(inputs, "jacobian", create_graph)
        several_out, outputs = _as_tuple(func(*ins), _OUTPUTS, "jacobian")
        _check_history(outputs, "outputs", strict)
        if forward:
            blocks = Tangents(outputs, ins).jacobians(create_graph=False)
        elif strict:
            blocks = [_strict_rows(i, out, ins, create_graph) for i, out in enumerate(outputs)]
        else:
            rule = at_once if vectorize else jacobian_by_rows
            blocks = [rule(out, ins, create_graph) for out in outputs]
    return _matrix(blocks, several_out, several_in, create_graph)


def _strict_rows(which: int, output: Any, inputs: Sequence[Any], create_graph: bool) -> list[Any]:
    """The Jacobian of output number `which`; RuntimeError where it does not depend on an input."""
    found = list(rows(output, inputs, create_graph))
    for row in found:
        for i, g in enumerate(row):
            if g is None:
                raise RuntimeError(
                    f"Output {which} of the user-provided function is independent of input {i}. This is not allowed in "
                    "strict mode."
                )
            if create_graph and not wants_grad(g):
                raise RuntimeError(_CONSTANT.format(what="jacobian", i=which))
    return [stacked([row[i] for row in found], output, t) for i, t in enumerate(inputs)]


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of the scalar function `func` at `inputs`: the Jacobian of its gradient.

    Args:
        outer_jacobian_strategy: the `strategy` of that Jacobian.

    The other arguments are those of `jacobian`.

    Returns:
        A tensor of shape `input.shape + input.shape`; for a tuple of inputs, a tuple of tuples of them.

    >>> import gradcore as torch
    >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    several, _ = _as_tuple(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in _STRATEGIES:
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def scalar(*ins: Any) -> Any:
        return _scalar(func, ins, "hessian", strict).squeeze()

    def gradient(*ins: Any) -> Any:
        found = jacobian(scalar, ins, create_graph=True)
        _check_history(found, "jacobian", strict)
        return found if several else found[0]

    return jacobian(gradient, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)
