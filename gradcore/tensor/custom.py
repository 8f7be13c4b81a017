"""Your own ops from an expression: `gradcore.elementwise` and `gradcore.reduction`."""

from __future__ import annotations

from collections.abc import Callable
from keyword import iskeyword
from typing import Any

from ..ops import custom
from ..ops.core import Op, make_function
from ..ops.custom import COMBINES, CustomReduction
from ..ops.elementwise import Elementwise
from .functions import runner

_PROMOTE = (None, "default", "float", "number", "integral", "floating")


def elementwise(
    expression: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    promote: str | None = None,
    derivative: Callable[..., Any] | None = None,
) -> Any:
    """A fused, broadcasting, differentiable op from a Python expression; a function, and a decorator.

    The expression is run once, on symbols that stand for one element of each tensor, with Python's operators and
    gradcore's elementwise functions. What it computes becomes one kernel, its gradients for all inputs another, on the
    CPU and on CUDA; derivatives of any order follow. What it does besides, such as printing, happens when it is traced;
    the numbers it finds around itself are those of then.

    Args:
        expression: positional parameters are tensors or numbers; keyword-only ones are numbers, or options (strings,
            bools, None), which the function sees as they are.
        name: of the op, in errors and in `grad_fn`; that of the function by default.
        promote: by default integers are computed as they are if the expression stays within the integers, else in the
            default float type. `"float"` computes them so always; `"integral"` refuses floating point, `"floating"`
            everything else, `"number"` bools.
        derivative: instead of the symbolic derivative, a function of what it names among `g`, `result` and the
            parameters, with a gradient (or None) for each tensor parameter.

    Raises:
        TypeError: if the function cannot be traced: it has `*args`, branches on a value, calls NumPy or a function of
            whole tensors, or returns anything but one expression.

    >>> import gradcore
    >>> damped = gradcore.elementwise(lambda x, y: x * gradcore.exp(-y))
    >>> x = gradcore.tensor([[1.0], [2.0]], requires_grad=True)
    >>> damped(x, gradcore.tensor([0.0, 1.0])).sum().backward()
    >>> x.grad
    tensor([[1.3679],
            [1.3679]])
    """
    if promote not in _PROMOTE:
        raise ValueError(f"elementwise(): promote is one of {', '.join(map(repr, _PROMOTE))}, not {promote!r}")

    def declare(function: Callable[..., Any]) -> Any:
        traced = custom.expression("elementwise", function)
        if derivative is not None:
            custom.check_derivative("elementwise", traced, derivative)
        op = Elementwise(traced, name=_name(function, name, "elementwise"), promote=promote, derivative=derivative)
        if all(n in op.defaults for n in op.parameters if n not in op.inputs):
            # Errors in the expression come now.
            program = op.program_of(op.default_key)
            if program.output_kind(0) != "bool":
                op.plan((True,) * len(op.inputs), (op.default_key, (False,) * len(program.inputs)))
        return _function(op, function)

    return declare if expression is None else declare(expression)


def reduction(
    map: Callable[..., Any] | None = None,
    combine: str = "sum",
    finish: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
) -> Any:
    """A differentiable reduction in one pass over its inputs, from Python expressions; a function, and a decorator.

    The op is called as `op(x, ..., dim=None, keepdim=False)`: `map` is applied to each element of the broadcast inputs,
    the results over `dim` (an int, several, or None for all) are combined, and `finish` is applied to what comes out.
    Expressions are written as for `elementwise`.

    Args:
        map: positional parameters are tensors or numbers, keyword-only ones numbers or options.
        combine: `"sum"` or `"prod"` (integers as int64), `"max"` or `"min"` (equal extremes share the gradient, as in
            `amax`), `"any"` or `"all"` (bools, without a gradient).
        finish: a function of the combined value; a second parameter must be called `count` and is how many elements
            were combined; keyword-only ones are numbers, those of `map` among them.
        name: of the op, in errors and in `grad_fn`; that of `map` by default.

    >>> import gradcore
    >>> rms = gradcore.reduction(lambda x: x * x, finish=lambda total, count: gradcore.sqrt(total / count))
    >>> x = gradcore.tensor([[3.0, 4.0], [6.0, 8.0]], requires_grad=True)
    >>> y = rms(x, dim=1)
    >>> y
    tensor([3.5355, 7.0711], grad_fn=<ReductionBackward0>)
    >>> y.sum().backward()
    >>> x.grad
    tensor([[0.4243, 0.5657],
            [0.4243, 0.5657]])
    """
    if combine not in COMBINES:
        raise ValueError(f"reduction(): combine is one of {', '.join(COMBINES)}, not {combine!r}")
    if finish is not None and combine in ("any", "all"):
        raise TypeError(f"reduction(): combine={combine!r} gives bools and takes no finish")

    def declare(function: Callable[..., Any]) -> Any:
        mapped = custom.expression("reduction", function)
        ending = None if finish is None else custom.ending(finish)
        op = CustomReduction(mapped, combine, ending, _name(function, name, "reduction"), None)
        return _function(op, function)

    return declare if map is None else declare(map)


def _function(op: Op, by: Callable[..., Any]) -> Any:
    """The public function of an op, in the place of the user's own."""
    function = make_function(op, op.name, runner(op))
    function.__module__ = getattr(by, "__module__", None)
    if getattr(by, "__name__", None) == op.name:
        function.__qualname__ = by.__qualname__
    return function


def _name(function: Callable[..., Any], given: str | None, otherwise: str) -> str:
    name = given or str(getattr(function, "__name__", otherwise))
    if name == "<lambda>":
        return otherwise
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"an op's name is a Python identifier, not {name!r}")
    return name
