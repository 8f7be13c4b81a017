"""The table of scalar operators: for each its NumPy text, its C++ text, and its derivative.

A row is all that the rest of the project knows about an operator. In the texts, `{0}`, `{1}`, ... are the operands.
NumPy texts see `np` (NumPy) and `fn` (`gradcore.expr.numpy_functions`); C++ texts see `kernels/math.cuh`, where each
function is overloaded for `float`, `double` and the integer types. NaN travels through every operator as in PyTorch:
`maximum`, `minimum` and everything built on them propagate it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .graph import Scalar, call

# Given the gradient with respect to the result, the operands and the result: one gradient per operand, None for zero.
Rule = Callable[..., tuple[Scalar | None, ...]]


@dataclass(frozen=True)
class Primitive:
    """One scalar operator.

    `kind` is the type of the result: `"value"` (the type computed in), `"bool"`, or `"operand"` (bool for bool
    operands, else the type computed in). `rule` is None where the derivative is zero everywhere. `fractional`: of
    integers it is a fraction.
    """

    name: str
    arity: int
    numpy: str
    cpp: str
    rule: Rule | None = None
    kind: str = "value"
    fractional: bool = False


def _where(c: Scalar, a: Scalar | float, b: Scalar | float) -> Scalar:
    return call("where", c, a, b)


def _chosen(loses: str, wins: str) -> Rule:
    """maximum and minimum: the gradient goes to the operand that was taken, half to each in a tie, as in PyTorch.

    Where either is NaN the comparisons fail and both get it, as there.
    """

    def rule(g: Scalar, a: Scalar, b: Scalar, y: Scalar) -> tuple[Scalar, Scalar]:
        tie, half = call("eq", a, b), g / 2
        return (
            _where(tie, half, _where(call(loses, a, b), 0, g)),
            _where(tie, half, _where(call(wins, a, b), 0, g)),
        )

    return rule


def _pow_rule(g: Scalar, a: Scalar, b: Scalar, y: Scalar) -> tuple[Scalar, Scalar]:
    # b == 0 has derivative 0 also at a == 0, where b * a ** (b - 1) is 0 * inf; and 0 ** b has derivative 0 in b.
    da = _where(call("eq", b, 0), 0, g * (b * call("pow", a, b - 1)))
    db = _where(call("logical_and", call("eq", a, 0), call("ge", b, 0)), 0, g * (y * call("log", a)))
    return da, db


def _log_base(constant: float) -> Rule:
    return lambda g, x, y: (g / (x * constant),)


TWO_BY_ROOT_PI = 1.1283791670955126

_ROWS: list[Primitive] = [
    # arithmetic
    Primitive("add", 2, "({0} + {1})", "({0} + {1})", lambda g, a, b, y: (g, g)),
    Primitive("sub", 2, "({0} - {1})", "({0} - {1})", lambda g, a, b, y: (g, -g)),
    Primitive("mul", 2, "({0} * {1})", "({0} * {1})", lambda g, a, b, y: (g * b, g * a)),
    Primitive("div", 2, "({0} / {1})", "({0} / {1})", lambda g, a, b, y: (g / b, -(g * y / b))),
    Primitive("neg", 1, "(-{0})", "(-{0})", lambda g, x, y: (-g,)),
    Primitive("floor_divide", 2, "({0} // {1})", "gc::floor_divide({0}, {1})"),
    Primitive(
        "remainder",
        2,
        "({0} % {1})",
        "gc::remainder({0}, {1})",
        lambda g, a, b, y: (g, -(g * call("floor_divide", a, b))),
    ),
    Primitive("pow", 2, "fn.power({0}, {1})", "gc::pow({0}, {1})", _pow_rule),
    Primitive("abs", 1, "abs({0})", "gc::abs({0})", lambda g, x, y: (g * call("sign", x),)),
    Primitive("sign", 1, "fn.sign({0})", "gc::sign({0})", kind="operand"),
    # exponentials and roots
    Primitive("exp", 1, "np.exp({0})", "gc::exp({0})", lambda g, x, y: (g * y,)),
    Primitive("expm1", 1, "np.expm1({0})", "gc::expm1({0})", lambda g, x, y: (g * (y + 1),)),
    Primitive("log", 1, "np.log({0})", "gc::log({0})", lambda g, x, y: (g / x,)),
    Primitive("log1p", 1, "np.log1p({0})", "gc::log1p({0})", lambda g, x, y: (g / (x + 1),)),
    Primitive("log2", 1, "np.log2({0})", "gc::log2({0})", _log_base(0.6931471805599453)),
    Primitive("log10", 1, "np.log10({0})", "gc::log10({0})", _log_base(2.302585092994046)),
    Primitive("sqrt", 1, "np.sqrt({0})", "gc::sqrt({0})", lambda g, x, y: (g / (y * 2),)),
    Primitive("rsqrt", 1, "(1 / np.sqrt({0}))", "gc::rsqrt({0})", lambda g, x, y: (g * -0.5 * (y * y * y),)),
    Primitive("erf", 1, "fn.erf({0})", "gc::erf({0})", lambda g, x, y: (g * (call("exp", -(x * x)) * TWO_BY_ROOT_PI),)),
    # trigonometric and hyperbolic
    Primitive("sin", 1, "np.sin({0})", "gc::sin({0})", lambda g, x, y: (g * call("cos", x),)),
    Primitive("cos", 1, "np.cos({0})", "gc::cos({0})", lambda g, x, y: (-(g * call("sin", x)),)),
    Primitive("tan", 1, "np.tan({0})", "gc::tan({0})", lambda g, x, y: (g * (y * y + 1),)),
    Primitive("asin", 1, "np.arcsin({0})", "gc::asin({0})", lambda g, x, y: (g * call("rsqrt", 1 - x * x),)),
    Primitive("acos", 1, "np.arccos({0})", "gc::acos({0})", lambda g, x, y: (-(g * call("rsqrt", 1 - x * x)),)),
    Primitive("atan", 1, "np.arctan({0})", "gc::atan({0})", lambda g, x, y: (g / (x * x + 1),)),
    Primitive("sinh", 1, "np.sinh({0})", "gc::sinh({0})", lambda g, x, y: (g * call("cosh", x),)),
    Primitive("cosh", 1, "np.cosh({0})", "gc::cosh({0})", lambda g, x, y: (g * call("sinh", x),)),
    Primitive("tanh", 1, "np.tanh({0})", "gc::tanh({0})", lambda g, x, y: (g * (1 - y * y),)),
    Primitive("sigmoid", 1, "(1 / (1 + np.exp(-{0})))", "gc::sigmoid({0})", lambda g, x, y: (g * ((1 - y) * y),)),
    # rounding: derivative zero
    Primitive("floor", 1, "np.floor({0})", "gc::floor({0})"),
    Primitive("ceil", 1, "np.ceil({0})", "gc::ceil({0})"),
    Primitive("round", 1, "np.rint({0})", "gc::round({0})"),
    Primitive("trunc", 1, "np.trunc({0})", "gc::trunc({0})"),
    # choice
    Primitive("maximum", 2, "np.maximum({0}, {1})", "gc::maximum({0}, {1})", _chosen("lt", "gt")),
    Primitive("minimum", 2, "np.minimum({0}, {1})", "gc::minimum({0}, {1})", _chosen("gt", "lt")),
    Primitive(
        "where",
        3,
        "fn.where({0}, {1}, {2})",
        "({0} ? {1} : {2})",
        lambda g, c, a, b, y: (None, _where(c, g, 0), _where(c, 0, g)),
    ),
    # comparison and logic
    Primitive("eq", 2, "({0} == {1})", "({0} == {1})", kind="bool"),
    Primitive("ne", 2, "({0} != {1})", "({0} != {1})", kind="bool"),
    Primitive("lt", 2, "({0} < {1})", "({0} < {1})", kind="bool"),
    Primitive("le", 2, "({0} <= {1})", "({0} <= {1})", kind="bool"),
    Primitive("gt", 2, "({0} > {1})", "({0} > {1})", kind="bool"),
    Primitive("ge", 2, "({0} >= {1})", "({0} >= {1})", kind="bool"),
    Primitive("isnan", 1, "np.isnan({0})", "gc::isnan({0})", kind="bool"),
    Primitive("isinf", 1, "np.isinf({0})", "gc::isinf({0})", kind="bool"),
    Primitive("isfinite", 1, "np.isfinite({0})", "gc::isfinite({0})", kind="bool"),
    Primitive("logical_and", 2, "np.logical_and({0}, {1})", "(({0} != 0) && ({1} != 0))", kind="bool"),
    Primitive("logical_or", 2, "np.logical_or({0}, {1})", "(({0} != 0) || ({1} != 0))", kind="bool"),
    Primitive("logical_xor", 2, "np.logical_xor({0}, {1})", "(({0} != 0) != ({1} != 0))", kind="bool"),
    Primitive("logical_not", 1, "np.logical_not({0})", "({0} == 0)", kind="bool"),
    Primitive("bitwise_and", 2, "({0} & {1})", "({0} & {1})", kind="operand"),
    Primitive("bitwise_or", 2, "({0} | {1})", "({0} | {1})", kind="operand"),
    Primitive("bitwise_xor", 2, "({0} ^ {1})", "({0} ^ {1})", kind="operand"),
    Primitive("bitwise_not", 1, "(~{0})", "gc::bitwise_not({0})", kind="operand"),
    # one uniform number in [0, 1) per element, the same whenever (seed, offset, element index) are the same
    Primitive("uniform", 2, "fn.uniform({0}, {1}, SHAPE)", "gc::uniform({0}, {1}, INDEX)"),
]

_FRACTIONAL = set("div exp expm1 log log1p log2 log10 sqrt rsqrt erf uniform".split())
_FRACTIONAL |= set("sin cos tan asin acos atan sinh cosh tanh sigmoid".split())
PRIMITIVES: dict[str, Primitive] = {p.name: replace(p, fractional=p.name in _FRACTIONAL) for p in _ROWS}
