"""Einstein's summation convention, by matrix products where there is anything to multiply."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ..autograd.autocast import with_precision
from ..autograd.variable import Variable
from ..ops.precision import CPU_LOWER, Precision, Rule
from .functions import FUNCTIONS, METHODS, function

if TYPE_CHECKING:
    from .tensor import Tensor

# A label is a letter, or the position (from the right, negative) of a dimension that an ellipsis stands for.
Labels = list[Any]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _split(text: str, operand: int | None) -> tuple[Labels, Labels | None]:
    """The subscripts before and after an ellipsis; None for the latter if there is none."""
    where = "in the output" if operand is None else f"for operand {operand}"
    if text.count("...") > 1:
        raise RuntimeError(f"einsum(): found '.' {where} for which an ellipsis was already found")
    head, dots, tail = text.partition("...")
    for part in (head, tail):
        for i, letter in enumerate(part):
            if letter == ".":
                raise RuntimeError(f"einsum(): found '.' {where} that is not part of any ellipsis")
            if letter not in _LETTERS:
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {i} in the equation string, subscripts must be in "
                    "[a-zA-Z]"
                )
    return list(head), list(tail) if dots else None


def _labelled(parts: tuple[Labels, Labels | None], ndim: int, operand: int) -> Labels:
    head, tail = parts
    named = len(head) + len(tail or ())
    if tail is None and named != ndim:
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions "
            f"({ndim}) for operand {operand} and no ellipsis was given"
        )
    if named > ndim:
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({named}) is more than the number of dimensions "
            f"({ndim}) for operand {operand}"
        )
    return head if tail is None else [*head, *range(named - ndim, 0), *tail]


def _result(terms: list[Labels], text: str | None) -> Labels:
    """The labels of the result: given, or those that occur once, in alphabetical order, after those of ellipses."""
    everything = [label for term in terms for label in term]
    dots = sorted({label for label in everything if isinstance(label, int)})
    if text is None:
        return [*dots, *sorted({x for x in everything if isinstance(x, str) and everything.count(x) == 1})]
    head, tail = _split(text, None)
    for label in (named := head + (tail or [])):
        if named.count(label) > 1:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
        if label not in everything:
            raise RuntimeError(
                f"einsum(): output subscript {label} does not appear in the equation for any input operand"
            )
    return head if tail is None else [*head, *dots, *tail]


def _once(x: Any, labels: Labels, operand: int) -> tuple[Any, Labels]:
    """A tensor whose dimensions with the same label are reduced to their diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            a = labels.index(label)
            b = labels.index(label, a + 1)
            if x.shape[a] != x.shape[b]:
                raise RuntimeError(
                    f"einsum(): subscript {label} is repeated for operand {operand} but the sizes don't match, "
                    f"{x.shape[b]} != {x.shape[a]}"
                )
            x = FUNCTIONS["diagonal"](x, 0, a, b)
            labels = [*labels[:a], *labels[a + 1 : b], *labels[b + 1 :], label]
    return x, labels


def _sum_out(x: Any, labels: Labels, wanted: set[Any]) -> tuple[Any, Labels]:
    """Summed over what nobody wants any more."""
    dims = [i for i, label in enumerate(labels) if label not in wanted]
    return (x.sum(dims) if dims else x), [label for label in labels if label in wanted]


def _order(x: Any, labels: Labels, wanted: Labels) -> Any:
    """`x` with its dimensions as `wanted`, those that it lacks of size 1."""
    have = [label for label in wanted if label in labels]
    positions = [labels.index(label) for label in have]
    x = x.permute(positions) if positions != list(range(len(positions))) else x
    if len(have) < len(wanted):
        sizes = iter(x.shape)
        x = x.reshape([next(sizes) if label in labels else 1 for label in wanted])
    return x


@with_precision(CPU_LOWER)
def _contract(a: Any, la: Labels, b: Any, lb: Labels, wanted: set[Any]) -> tuple[Any, Labels]:
    """The product of two tensors, summed over the labels of both that are not wanted any more: one matrix product."""
    size = {**dict(zip(lb, b.shape)), **dict(zip(la, a.shape))}
    # A shared label is summed away if both really have it; one of size 1 in either is broadcast.
    both = [x for x in la if x in lb]
    inner = [x for x in both if x not in wanted and a.shape[la.index(x)] == b.shape[lb.index(x)]]
    for x in both:
        if x not in wanted and x not in inner:  # broadcast, then summed: sum first
            if a.shape[la.index(x)] == 1:
                b = b.sum(lb.index(x), keepdim=True)
            else:
                a = a.sum(la.index(x), keepdim=True)
            inner.append(x)
    batch = [x for x in both if x not in inner]
    rows = [x for x in la if x not in both]
    columns = [x for x in lb if x not in both]
    if not inner:
        out = [*batch, *rows, *columns]
        return _order(a, la, out) * _order(b, lb, out), out
    left, right = _order(a, la, [*batch, *rows, *inner]), _order(b, lb, [*batch, *inner, *columns])
    n, m = (prod(size[x] for x in part) for part in (rows, columns))
    k = prod(a.shape[la.index(x)] for x in inner)
    head_a, head_b = left.shape[: len(batch)], right.shape[: len(batch)]
    product = left.reshape([*head_a, n, k]) @ right.reshape([*head_b, k, m])
    shape = [*product.shape[: len(batch)], *(size[x] for x in [*rows, *columns])]
    return product.reshape(shape), [*batch, *rows, *columns]


def _from_lists(args: Sequence[Any]) -> tuple[str, list[Any]]:
    """The equation for operands given with lists of numbers: `einsum(x, [0, 1], y, [1, 2], [0, 2])`."""

    def text(subscripts: Sequence[Any]) -> str:
        letters = []
        for n in subscripts:
            if n is not Ellipsis and not 0 <= n < len(_LETTERS):
                raise RuntimeError(f"einsum(): subscripts in subscript list should be in range [0, 52), but got {n}")
            letters.append("..." if n is Ellipsis else _LETTERS[n])
        return "".join(letters)

    equation = ",".join(text(s) for s in args[1 : len(args) // 2 * 2 : 2])
    if len(args) % 2:
        equation += "->" + text(args[-1])
    return equation, list(args[0 : len(args) // 2 * 2 : 2])


@function
@with_precision(Precision(None, Rule.LOWER))
def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """The sum of products that an equation describes: `"bij,bjk->bik"` multiplies batches of matrices.

    Each operand has a letter for each dimension, `...` standing for those that are not named; a letter that occurs
    twice in one operand means its diagonal. What is not in the result is summed over. Without `->` the result has the
    letters that occur once, in alphabetical order. The operands are contracted from left to right, each time by one
    (batched) matrix product where there is something to sum over.

    Raises:
        RuntimeError: the equation is not valid, or does not fit the operands.

    >>> import gradcore
    >>> gradcore.einsum("ij,j->i", gradcore.tensor([[1.0, 2.0], [3.0, 4.0]]), gradcore.tensor([1.0, 10.0]))
    tensor([21., 43.])
    """
    tensors: list[Any] = list(operands)
    if not isinstance(equation, str):
        equation, tensors = _from_lists((equation, *operands))
    elif len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = list(tensors[0])
    if not tensors:
        raise RuntimeError("einsum(): must provide at least one operand")
    text = equation.replace(" ", "")
    inputs, arrow, output = text.partition("->")
    parts = inputs.split(",")
    if len(parts) != len(tensors):
        fewer = "fewer" if len(tensors) < len(parts) else "more"
        raise RuntimeError(f"einsum(): {fewer} operands were provided than specified in the equation")
    terms = []
    for i, (part, t) in enumerate(zip(parts, tensors)):
        if not isinstance(t, Variable):
            raise TypeError(f"einsum(): operand {i} must be Tensor, not {type(t).__name__}")
        terms.append(_labelled(_split(part, i), t._array.ndim, i))
    result = _result(terms, output if arrow else None)
    sizes: dict[Any, int] = {}
    work: list[tuple[Any, Labels]] = []
    for i, (t, labels) in enumerate(zip(tensors, terms)):
        work.append(_once(t, labels, i))
        for label, n in zip(work[-1][1], work[-1][0].shape):
            if sizes.setdefault(label, n) == 1:
                sizes[label] = n
            elif n not in (1, sizes[label]):
                raise RuntimeError(
                    f"einsum(): subscript {label} has size {n} for operand {i} which does not broadcast with "
                    f"previously seen size {sizes[label]}"
                )
    x, have = work[0]
    for i, (y, labels) in enumerate(work[1:], 1):
        later = {label for _, other in work[i + 1 :] for label in other} | set(result)
        x, have = _sum_out(x, have, later | set(labels))
        y, labels = _sum_out(y, labels, later | set(have))
        x, have = _contract(x, have, y, labels, later)
    x, have = _sum_out(x, have, set(result))
    return _order(x, have, result)


METHODS.pop("einsum")
