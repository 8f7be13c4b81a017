"""Ops from expressions that a user wrote: what these may be, and reductions with their derivatives."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import Parameter
from math import prod
from typing import Any

from .. import dtypes
from ..backends import Reduction
from ..expr import Program, Scalar, call
from .core import Attrs, BatchRule, Op, Plan, array_of, one_backend
from .dims import wrap_dims
from .elementwise import Elementwise, broadcast_shape, common_shape, kinds_of, promoted_as_members
from .reductions import amax, amin, check_extreme, extreme_rule, prod_rule, spread
from .shape import each_ranked, reshape

COMBINES = ("sum", "prod", "max", "min", "any", "all")


def expression(where: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, checked to have named parameters and to return, when it is traced, one expression.

    Raises:
        TypeError: naming the parameter that is in the way, or what was returned.
    """
    if not callable(function):
        raise TypeError(f"{where}() takes a function of scalars, got {type(function).__name__}")
    name = getattr(function, "__name__", type(function).__name__)
    try:
        signature = inspect.signature(function)
    except ValueError:
        raise TypeError(f"{where}(): {name} has no signature; write lambda x: {name}(x)") from None
    for p in signature.parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            stars = "*" if p.kind is p.VAR_POSITIONAL else "**"
            raise TypeError(f"{where}(): {name} takes {stars}{p.name}; a kernel has a fixed number of named parameters")
        if re.fullmatch(r"(grad|result)\d+", p.name):
            raise TypeError(f"{where}(): {name} has a parameter {p.name!r}: gradients and results are called so")
        if p.kind is not p.KEYWORD_ONLY and p.default is not p.empty:
            raise TypeError(f"{where}(): {name} has a default for {p.name!r}; make it keyword-only: put a * before it")
    if not any(p.kind is not p.KEYWORD_ONLY for p in signature.parameters.values()):
        raise TypeError(f"{where}(): {name} needs a positional parameter, for a tensor")

    def traced(**values: Any) -> Any:
        positional = [values.pop(p.name) for p in signature.parameters.values() if p.kind is p.POSITIONAL_ONLY]
        result = function(*positional, **values)
        if not isinstance(result, (Scalar, bool, int, float)):
            raise TypeError(f"{where}(): {name} must return one expression or number, got {type(result).__name__}")
        return result

    traced.__name__, traced.__doc__ = name, inspect.getdoc(function)
    traced.__signature__ = signature  # type: ignore[attr-defined]
    return traced


def check_derivative(where: str, function: Callable[..., Any], derivative: Callable[..., Any]) -> None:
    """Raise TypeError if a derivative by hand asks for what there is not, or cannot be told from an input."""
    inputs = inspect.signature(function).parameters
    for name in ("g", "result"):
        if name in inputs:
            raise TypeError(
                f"{where}(): {function.__name__} has a parameter {name!r}, as the derivative's own are called"
            )
    unknown = [n for n in inspect.signature(derivative).parameters if n not in ("g", "result", *inputs)]
    if unknown:
        raise TypeError(
            f"{where}(): the derivative of {function.__name__} asks for {unknown[0]!r}; there are "
            f"{', '.join(('g', 'result', *inputs))}"
        )


def ending(finish: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction's `finish` as a function of `acc` and, keyword-only, of `count` and numbers."""
    checked = expression("reduction", finish)
    parameters = list(inspect.signature(finish).parameters.values())
    positional = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    if len(positional) > 2 or (len(positional) == 2 and positional[1].name != "count"):
        names = ", ".join(p.name for p in positional)
        raise TypeError(f"reduction(): finish takes the combined value and, if it wants it, count, not ({names})")

    def end(acc: Any, **numbers: Any) -> Any:
        return checked(**{positional[0].name: acc}, **numbers)

    first, *others = parameters
    end.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [first.replace(name="acc"), *(p.replace(kind=Parameter.KEYWORD_ONLY) for p in others)]
    )
    return end


class CustomReduction(Op):
    """`finish(combine over dim of map(x, ...))`, in one pass over the inputs.

    `map` is a function over scalars; `finish`, if any, one of the combined value and, as it names them, of `count`, how
    many elements were combined, and of keyword-only numbers. The derivatives are made of two elementwise ops, `map` and
    `ending`.
    """

    def __init__(
        self, map: Callable[..., Any], combine: str, finish: Callable[..., Any] | None, name: str, grad_name: str | None
    ):
        super().__init__(map, name, grad_name)
        for taken in ("dim", "keepdim", "count", "acc"):
            if taken in self.parameters:
                raise TypeError(f"reduction(): {name} has a parameter {taken!r}, which reductions have of their own")
        self.combine = combine
        self.map = Elementwise(map, name=name, promote=None)
        self.map.recompute = True
        self.inputs = self.map.inputs
        self.ending: Elementwise | None = None
        given = list(self.signature.parameters.values())
        if finish is not None:
            self.ending = Elementwise(finish, name=name, promote=None)
            self.plain = CustomReduction(map, combine, None, name, None)
            self.composite = self._composite
            known = {*self.ending.inputs, "count", *self.signature.parameters}
            given += [p for n, p in self.ending.signature.parameters.items() if n not in known]
        dims = [
            Parameter("dim", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation="Dims"),
            Parameter("keepdim", Parameter.POSITIONAL_OR_KEYWORD, default=False, annotation="bool"),
        ]
        given[len(self.inputs) : len(self.inputs)] = dims
        self.signature = inspect.Signature(given)
        self.parameters = tuple(self.signature.parameters)
        self.defaults = {p.name: p.default for p in given if p.default is not p.empty}
        self.program_of = lru_cache(maxsize=None)(self._program_of)

    def _program_of(self, key: tuple[Any, ...]) -> Program:
        program = self.map.program_of(key)
        if self.combine not in ("any", "all") or program.output_kind(0) == "bool":
            return program
        return Program(program.inputs, (call("ne", program.outputs[0], 0),))

    def _options(self, op: Elementwise, attrs: Attrs, count: int | None = None) -> Attrs:
        """What `op` takes of the attributes."""
        given = {**self.defaults, **attrs, "count": count}
        return {n: given[n] for n in op.parameters if n not in op.inputs}

    # -- forward
    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        key, values = self.map.split(inputs, self._options(self.map, attrs))
        program = self.program_of(key)
        backend = one_backend(self.name, values, program.inputs)
        shape = broadcast_shape(self.name, values)
        dim, keepdim = attrs.get("dim"), attrs.get("keepdim", False)
        axes = wrap_dims(dim, len(shape))
        if self.combine in ("max", "min"):
            check_extreme(self.name, shape, dim)
        compute = self.map.types(program, kinds_of(values))[0]
        finish: Program | None = None
        ends: list[Any] = []
        keeps_total = False
        if self.ending is not None:
            options = self._options(self.ending, attrs, prod(shape[d] for d in axes))
            end_key, (_, *ends) = self.ending.split((None,), options)
            finish = self.ending.program_of(end_key)
            keeps_total = bool(self.ending.plan((True,), (end_key, _numbers(ends))).inputs)
            if compute.kind in "biu" and (finish.fractional or any(isinstance(v, float) for v in ends)):
                compute = dtypes.get_default_dtype().numpy
        if self.combine in ("sum", "prod") and compute.kind in "biu":
            compute = dtypes.int64.numpy
        truth = self.combine in ("any", "all") or (finish is not None and finish.output_kind(0) == "bool")
        out = dtypes.bool_.numpy if truth else compute
        if finish is None or not keeps_total:
            named = dict(zip(finish.inputs[1:], ends)) if finish else None
            reduction = Reduction(program, self.combine, finish)
            return backend.reduce(reduction, values, compute, out, shape, axes, keepdim, named)
        # The derivative of the ending wants the combined value: kept, and not rounded to half precision.
        wide = dtypes.float32.numpy if compute.itemsize == 2 and compute.kind in "fV" else compute
        total = backend.reduce(Reduction(program, self.combine), values, compute, wide, shape, axes, keepdim)
        return backend.elementwise(finish, (total, *ends), wide, (out,), total.shape)[0], total

    # -- batches
    @staticmethod
    def _batch(
        op: CustomReduction,
        inputs: Sequence[Any],
        shapes: Sequence[Any],
        batched: Sequence[bool],
        attrs: Attrs,
        size: int,
    ) -> Any:
        rank = len(common_shape(op.name, [s for s in shapes if s is not None]))
        dims = tuple(d + 1 for d in wrap_dims(attrs.get("dim"), rank))
        if not rank:  # a dimension to reduce, and none left of it
            shapes = [s if s is None else (1,) for s in shapes]
            inputs = [reshape(x, shape=(size, 1)) if b else x for x, b in zip(inputs, batched)]
            rank, dims, attrs = 1, (1,), {**attrs, "keepdim": False}
        values = promoted_as_members(inputs, shapes, batched)
        return op(*each_ranked(values, shapes, batched, rank, size), **{**attrs, "dim": dims})

    batch_rule = BatchRule(_batch)

    # -- derivative
    def plan_key(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        mapped = self.map.plan_key(inputs, self._options(self.map, attrs))
        if self.ending is None:
            return mapped, None
        key, (_, *ends) = self.ending.split((None,), self._options(self.ending, attrs, 1))
        return mapped, (key, _numbers(ends))

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        mapped, ended = key
        before = self.map.plan(needs, mapped)
        after = self.ending.plan((True,), ended) if self.ending else None
        # The composite, for higher derivatives, wants everything, and so does what is compared with an extreme.
        everything = after is not None or self.combine != "sum"
        positions = tuple(range(len(self.inputs))) if everything else before.inputs
        whole = not self.map.program_of(mapped[0]).operations

        def backward(gs: Sequence[Any], saved: Sequence[Any], attrs: Attrs, shape: Any) -> Sequence[Any]:
            dim, keepdim = attrs.get("dim"), attrs.get("keepdim", False)
            g = gs[0]
            if after is not None:
                assert self.ending is not None
                count = prod(shape[d] for d in wrap_dims(dim, len(shape)))
                (g,) = after.backward((g,), saved[len(positions) :], self._options(self.ending, attrs, count), None)
                if g is None:
                    return [None] * len(self.inputs)
            options = self._options(self.map, attrs)
            if self.combine == "sum":
                g = spread(g, shape=shape, dim=dim, keepdim=keepdim)
            else:
                x = saved[0] if whole else self.map(*saved[: len(positions)], **options)
                g = _RULES[self.combine](g, x, shape, dim, keepdim)
            return before.backward((g,), [saved[positions.index(p)] for p in before.inputs], options, None)

        outputs = () if after is None else (1,) if after.inputs else after.outputs
        return Plan(self, positions, outputs, backward, lambda arrays: broadcast_shape(self.name, arrays))

    def _composite(self, dim: Any = None, keepdim: bool = False, **values: Any) -> Any:
        """The definition in two ops, which higher derivatives are taken of."""
        assert self.ending is not None
        inputs = [values[n] for n in self.inputs]
        shape = broadcast_shape(self.name, list(map(array_of, inputs)))
        total = self.plain(*inputs, dim=dim, keepdim=keepdim, **self._options(self.map, values))
        count = prod(shape[d] for d in wrap_dims(dim, len(shape)))
        return self.ending(total, **self._options(self.ending, values, count))


def _numbers(values: Sequence[Any]) -> tuple[bool, ...]:
    """For the combined value and the numbers that follow it, which of them are numbers."""
    return (False, *(True for _ in values))


def _of_extremes(combine: Any) -> Callable[..., Any]:
    def rule(g: Any, x: Any, shape: Any, dim: Any, keepdim: bool) -> Any:
        return extreme_rule(g, x, combine(x, dim=() if dim is None else dim, keepdim=keepdim), shape, dim, keepdim)

    return rule


_RULES: dict[str, Callable[..., Any]] = {"prod": prod_rule, "max": _of_extremes(amax), "min": _of_extremes(amin)}
