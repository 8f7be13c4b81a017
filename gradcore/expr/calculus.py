"""Symbolic reverse-mode differentiation of scalar expressions."""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Input, Scalar, substitute, topological


def gradients(
    outputs: Sequence[Scalar], seeds: Sequence[Scalar], wrt: Sequence[Input], results: Sequence[Scalar]
) -> tuple[Scalar | None, ...]:
    """The gradients of `sum(seed * output)` with respect to the inputs `wrt`; None where it is zero everywhere.

    `results` are leaves that stand for the outputs' saved values: they replace the outputs in the gradients wherever
    that is cheaper than recomputing them.
    """
    order = topological(outputs)
    needed: set[Scalar] = set(wrt)
    for node in order:
        if node.op and not needed.isdisjoint(node.args):
            needed.add(node)
    adjoint: dict[Scalar, Scalar] = {}

    def accumulate(node: Scalar, value: Scalar) -> None:
        adjoint[node] = adjoint[node] + value if node in adjoint else value

    for out, seed in zip(outputs, seeds):
        if out in needed:
            accumulate(out, seed)
    for node in reversed(order):
        if node.op is None or node not in adjoint or node.op.rule is None or node not in needed:
            continue
        for arg, value in zip(node.args, node.op.rule(adjoint[node], *node.args, node)):
            if value is not None and arg in needed:
                accumulate(arg, value)
    grads = tuple(adjoint.get(x) for x in wrt)
    return tuple(_with_results(g, outputs, results) if g is not None else None for g in grads)


def _with_results(grad: Scalar, outputs: Sequence[Scalar], results: Sequence[Scalar]) -> Scalar:
    replaced: dict[Scalar, Scalar] = {out: res for out, res in zip(outputs, results) if out.op is not None}
    return substitute((grad,), replaced)[0]
