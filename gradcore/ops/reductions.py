"""Reductions: one pass over the input, with the elementwise part of the definition fused in."""

from __future__ import annotations

import builtins
import math
import warnings
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..backends import Array, Reduction, backend_of
from ..backends.cpp.types import wide
from ..expr import Scalar, call, trace
from .arithmetic import abs as abs_op
from .arithmetic import div, mul, sign
from .arithmetic import pow as pow_op
from .core import array_of, array_op
from .dims import Dims, kept_shape, wrap_dim, wrap_dims
from .elementwise import elementwise
from .gathering import scatter_add_zeros
from .precision import CUDA_FLOAT32, CUDA_RESULT, Precision, Rule
from .shape import Shape, cat, expand, narrow, permute, reshape

_identity = trace(lambda x: x)
_MEAN = trace(lambda acc, count: acc / count)

SUM = Reduction(_identity, "sum")
_REDUCTIONS = {
    "sum": SUM,
    "mean": Reduction(_identity, "sum", _MEAN),
    "prod": Reduction(_identity, "prod"),
    "max": Reduction(_identity, "max"),
    "min": Reduction(_identity, "min"),
    "any": Reduction(trace(lambda x: call("ne", x, 0)), "any"),
    "all": Reduction(trace(lambda x: call("ne", x, 0)), "all"),
    "any_nan": Reduction(trace(lambda x: call("isnan", x)), "any"),
    "any_inf": Reduction(trace(lambda x: call("isinf", x)), "any"),
    "all_probable": Reduction(trace(lambda x: call("logical_and", x >= 0, x <= 1)), "all"),
    "norm1": Reduction(trace(lambda x: call("abs", x)), "sum"),
    "norm2": Reduction(trace(lambda x: x * x), "sum", trace(lambda acc: call("sqrt", acc))),
    "norm_inf": Reduction(trace(lambda x: call("abs", x)), "max"),
    "norm_-inf": Reduction(trace(lambda x: call("abs", x)), "min"),
    "norm0": Reduction(trace(lambda x: call("where", call("ne", x, 0), 1.0, 0.0)), "sum"),
    "norm_p": Reduction(
        trace(lambda x, p: call("pow", call("abs", x), p)), "sum", trace(lambda acc, p: call("pow", acc, 1 / p))
    ),
    "var": Reduction(
        trace(lambda x, mean: (x - mean) * (x - mean)),
        "sum",
        trace(lambda acc, count, correction: acc / call("maximum", count - correction, 0)),
    ),
}


def reduce_array(
    reduction: str, x: Array, dim: Dims, keepdim: bool, *others: Any, dtype: Any = None, **parameters: float
) -> Array:
    """Run a reduction of the table over `dim`; `others` are further inputs of its map, broadcast to `x`."""
    dims = wrap_dims(dim, x.ndim)
    out = x.dtype if dtype is None else dtype
    compute = out if out.kind != "b" else x.dtype
    return backend_of(x).reduce(
        _REDUCTIONS[reduction], (x, *others), compute, out, x.shape, dims, keepdim, parameters or None
    )


def holds(reduction: str, x: Array) -> bool:
    """Whether any element is NaN (`any_nan`) or infinite (`any_inf`), or all are in [0, 1] (`all_probable`)."""
    if x.dtype.kind not in "fV":
        return False
    found = reduce_array(reduction, x, None, False, dtype=dtypes.bool_.numpy)
    return builtins.bool(backend_of(x).to_host(found))


def along(op: Any, input: Any, input_shape: Shape, attrs: dict[str, Any], size: int) -> Any:
    """The batch rule of an op along dimensions `dim`, which of None or () are all of them."""
    n = len(input_shape)
    dim = attrs.get("dim", op.defaults.get("dim"))
    if not n:  # a dimension to work along, and none left of it
        wrap_dims(dim, 0)
        attrs = {**attrs, "dim": 1}
        if "keepdim" in op.parameters:
            attrs["keepdim"] = False
        out = op(reshape(input, shape=(size, 1)), **attrs)
        return (
            tuple([reshape(x, shape=(size,)) for x in out]) if isinstance(out, tuple) else reshape(out, shape=(size,))
        )
    if isinstance(dim, int):
        return op(input, **{**attrs, "dim": wrap_dim(dim, n) + 1})
    return op(input, **{**attrs, "dim": tuple([d + 1 for d in wrap_dims(dim, n)])})


@array_op(public=False, linear=["grad"])
def spread(grad: Array, shape: Shape, dim: Dims, keepdim: bool) -> Array:
    """The gradient of a reduced tensor, broadcast to the `shape` before the reduction (a view)."""
    shape = tuple(shape)
    if not keepdim and grad.ndim not in (0, len(shape)):
        grad = grad.reshape(kept_shape(shape, wrap_dims(dim, len(shape))))
    return backend_of(grad).broadcast(grad, shape)


@spread.batching
def _spread_batch(grad: Any, grad_shape: Shape, shape: Shape, dim: Dims, keepdim: bool, size: int) -> Any:
    if not keepdim and len(grad_shape) not in (0, len(shape)):
        grad_shape = kept_shape(shape, wrap_dims(dim, len(shape)))
    return expand(reshape(grad, shape=(size, *(1,) * (len(shape) - len(grad_shape)), *grad_shape)), size=(size, *shape))


def _float_out(op: str, x: Array, dtype: dtypes.dtype | None) -> Any:
    d = dtype or dtypes.from_numpy(x.dtype)
    if not d.is_floating_point:
        which = "Input" if dtype is None else "Optional"
        raise RuntimeError(
            f"{op}(): could not infer output dtype. {which} dtype must be either a floating point or complex dtype. "
            f"Got: {dtypes.type_name(d.numpy)}; convert it first, as in {op}(x.float())"
        )
    return d.numpy


def _integers_widen(x: Array, dtype: dtypes.dtype | None) -> Any:
    if dtype is not None:
        return dtype.numpy
    return x.dtype if x.dtype.kind in "fV" else dtypes.int64.numpy


def _numbered(name: str) -> Callable[[Any], str]:
    """PyTorch has one derivative for a reduction of everything, 0, and one for that of some dimensions, 1."""
    return lambda node: f"{name}Backward{int(node.attrs.get('dim') is not None)}"


@array_op(grad_name=_numbered("Sum"), linear=["input"], precision=CUDA_RESULT)
def sum(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The sum over `dim` (an int, several, or None for all); integers and bools are summed as int64."""
    return reduce_array("sum", input, dim, keepdim, dtype=_integers_widen(input, dtype))


sum.batching(along)
spread.derivative(grad=lambda g, dim, keepdim: sum(g, dim=dim, keepdim=keepdim))
sum.derivative(input=lambda g, input_shape, dim, keepdim: spread(g, shape=input_shape, dim=dim, keepdim=keepdim))


@array_op(grad_name=_numbered("Mean"), linear=["input"])
def mean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The mean over `dim`."""
    return reduce_array("mean", input, dim, keepdim, dtype=_float_out("mean", input, dtype))


mean.batching(along)


def any_empty(shape: Shape, dims: tuple[int, ...]) -> bool:
    """Whether nothing is reduced over `dims`."""
    return 0 in [shape[d] for d in dims]


def reduced_size(shape: Shape, dim: Dims) -> int:
    """The number of results of a reduction over `dim`."""
    return math.prod(reduced_shape(shape, wrap_dims(dim, len(shape)), False))


def reduced_shape(shape: Shape, dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """The shape of a reduction over `dims`."""
    return kept_shape(shape, dims) if keepdim else tuple(n for d, n in enumerate(shape) if d not in dims)


def _count(shape: Any, dim: Dims) -> int:
    return math.prod(shape[d] for d in wrap_dims(dim, len(shape)))


mean.derivative(
    input=lambda g, input_shape, dim, keepdim: spread(
        div(g, _count(input_shape, dim)) if _count(input_shape, dim) else g,
        shape=input_shape,
        dim=dim,
        keepdim=keepdim,
    )
)


@array_op(name="prod_dim", grad_name=_numbered("Prod"), public=False, precision=Precision(Rule.FLOAT32, Rule.RESULT))
def prod_dim(input: Array, dim: Dims, keepdim: bool, dtype: dtypes.dtype | None) -> Array:
    """The product over `dim`."""
    return reduce_array("prod", input, dim, keepdim, dtype=_integers_widen(input, dtype))


prod_dim.batching(along)


def _others(x: Any, axis: int) -> Any:
    """For each element, the product of the others along `axis`, without a division: zeros are as good as any number.

    Elements are paired, the same is asked of the products of pairs, and each gets that times its partner.
    """
    n = x.shape[axis]
    if n < 2:
        array = array_of(x)
        return backend_of(array).full(array.shape, 1, array.dtype)
    half = n // 2
    a, b = narrow(x, dim=axis, start=0, length=half), narrow(x, dim=axis, start=half, length=half)
    rest = [narrow(x, dim=axis, start=2 * half, length=1)] if n % 2 else []
    pairs = _others(cat(mul(a, b), *rest, dim=axis), axis)
    others = narrow(pairs, dim=axis, start=0, length=half)
    rest = [narrow(pairs, dim=axis, start=half, length=1)] if n % 2 else []
    return cat(mul(others, b), mul(others, a), *rest, dim=axis)


def prod_rule(g: Any, input: Any, input_shape: Any, dim: Dims, keepdim: bool) -> Any:
    dims = wrap_dims(dim, len(input_shape))
    if len(dims) == 1:
        others = _others(input, dims[0])
    else:  # as one dimension, the first
        kept = [d for d in range(len(input_shape)) if d not in dims]
        order = [*dims, *kept]
        moved = [input_shape[d] for d in order]
        joined = [_count(input_shape, dim), *(input_shape[d] for d in kept)]
        others = reshape(_others(reshape(permute(input, dims=order), shape=joined), 0), shape=moved)
        others = permute(others, dims=sorted(range(len(order)), key=order.__getitem__))
    return mul(spread(g, shape=input_shape, dim=dim, keepdim=keepdim), others)


prod_dim.derivative(input=prod_rule)


@elementwise(name="var_backward", method=False)
def var_backward(g: Scalar, input: Scalar, mean: Scalar, *, scale: float) -> Scalar:
    """`g * scale * (input - mean)`."""
    return g * scale * (input - mean)


def _var_scale(shape: Any, dim: Dims, correction: float) -> float:
    freedom = _count(shape, dim) - correction
    return 2 / freedom if freedom > 0 else math.nan


@array_op(name="var_dim", grad_name="VarBackward0", public=False)
def var_dim(input: Array, dim: Dims, correction: float, keepdim: bool) -> Array:
    """The variance over `dim`, in two passes: squared distances from the mean, over `count - correction`."""
    dtype = _float_out("var", input, None)
    if _count(input.shape, dim) <= correction:
        warnings.warn(
            "var(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input "
            "numel divided by output numel).",
            stacklevel=2,
        )
    average = reduce_array("mean", input, dim, True, dtype=dtype)
    return reduce_array("var", input, dim, keepdim, average, dtype=dtype, correction=correction)


var_dim.batching(along)


def _var_rule(g: Any, input: Any, input_shape: Any, dim: Dims, correction: float, keepdim: bool) -> Any:
    scale = _var_scale(input_shape, dim, correction)
    return var_backward(
        spread(g, shape=input_shape, dim=dim, keepdim=keepdim), input, mean(input, dim=dim, keepdim=True), scale=scale
    )


var_dim.derivative(input=_var_rule)


@array_op(name="std_dim", grad_name="StdBackward0", public=False)
def std_dim(input: Array, dim: Dims, correction: float, keepdim: bool) -> Array:
    """The standard deviation over `dim`: the square root of the variance."""
    variance = var_dim.function(input, dim, correction, keepdim)
    return backend_of(input).elementwise(_SQRT, (variance,), variance.dtype, (variance.dtype,), variance.shape)[0]


std_dim.batching(along)

_SQRT = trace(lambda x: call("sqrt", x))


@elementwise(name="half_over", method=False)
def half_over(g: Scalar, result: Scalar) -> Scalar:
    """`g / (2 * result)`, 0 where `result` is 0."""
    return call("where", call("eq", result, 0), 0, g / (result * 2))


std_dim.derivative(
    input=lambda g, result, input, input_shape, dim, correction, keepdim: _var_rule(
        half_over(g, result), input, input_shape, dim, correction, keepdim
    )
)


def check_extreme(op: str, shape: Shape, dim: Dims) -> None:
    """Raise if there is no element to take the extreme of."""
    if dim is None or dim == ():
        if 0 in shape:
            kind = IndexError if op.startswith("arg") else RuntimeError
            raise kind(
                f"{op}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim "
                "with the 'dim' argument."
            )
        return
    for d in wrap_dims(dim, len(shape)):
        if shape[d] == 0:
            raise IndexError(f"{op}(): Expected reduction dim {d} to have non-zero size.")


@array_op
def amax(input: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    """The largest element over `dim`; equal ones share the gradient."""
    check_extreme("amax", input.shape, dim)
    return reduce_array("max", input, dim, keepdim)


@array_op
def amin(input: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    """The smallest element over `dim`; equal ones share the gradient."""
    check_extreme("amin", input.shape, dim)
    return reduce_array("min", input, dim, keepdim)


@elementwise(name="equal_as_number", method=False)
def equal_as_number(input: Scalar, other: Scalar) -> Scalar:
    """1.0 where equal, else 0.0; NaN equals NaN here."""
    nan = call("logical_and", call("isnan", input), call("isnan", other))
    return call("where", call("logical_or", call("eq", input, other), nan), 1.0, 0.0)


def extreme_rule(g: Any, input: Any, result: Any, input_shape: Any, dim: Dims, keepdim: bool) -> Any:
    taken = equal_as_number(input, spread(result, shape=input_shape, dim=dim, keepdim=keepdim))
    share = div(spread(g, shape=input_shape, dim=dim, keepdim=keepdim), sum(taken, dim=dim, keepdim=True))
    return mul(share, taken)


for _op in (amax, amin):
    _op.batching(along)
    _op.derivative(input=extreme_rule)
    _op.exact_out = True


def _full(name: str, of: Any, grad_name: str) -> Any:
    def reduce_all(input: Array) -> Array:
        check_extreme(name, input.shape, None)
        return reduce_array(name, input, None, False)

    reduce_all.__doc__ = f"The {'largest' if name == 'max' else 'smallest'} element; equal ones share the gradient."
    op = array_op(reduce_all, name=f"{name}_all", grad_name=grad_name, public=False)
    op.derivative(input=lambda g, input, result, input_shape: extreme_rule(g, input, result, input_shape, None, False))

    @op.batching
    def batch(input: Any, input_shape: Shape, size: int) -> Any:
        check_extreme(name, input_shape, None)
        return along(of, input, input_shape, {"dim": ()}, size)

    return op


max_all = _full("max", amax, "MaxBackward1")
min_all = _full("min", amin, "MinBackward1")


def _at_index(g: Any, index: Any, input_shape: Any, dim: int, keepdim: bool) -> Any:
    axis = wrap_dim(dim, len(input_shape))
    if not input_shape:
        return g
    kept = kept_shape(input_shape, (axis,))
    g, index = reshape(g, shape=kept), reshape(index, shape=kept)
    return scatter_add_zeros(g, index, shape=input_shape, dim=axis, unique=True)


def _with_index(name: str, grad_name: str) -> Any:
    def extreme(input: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
        check_extreme(name, input.shape, dim)
        backend = backend_of(input)
        if input.ndim == 0:
            return backend.copy(input), backend.full((), 0, dtypes.int64.numpy)
        axis = wrap_dim(dim, input.ndim)
        values, index = backend.arg_reduce(input, axis, name)
        if keepdim:
            kept = kept_shape(input.shape, (axis,))
            values, index = values.reshape(kept), index.reshape(kept)
        return values, index

    op = array_op(extreme, name=f"{name}_dim", grad_name=grad_name, public=False)
    op.batching(along)
    op.derivative(
        input=lambda gs, result1, input_shape, dim, keepdim: _at_index(gs[0], result1, input_shape, dim, keepdim)
    )
    return op


max_dim = _with_index("max", "MaxBackward0")
min_dim = _with_index("min", "MinBackward0")


def _arg(name: str) -> Any:
    def position(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
        check_extreme(f"arg{name}", input.shape, dim)
        backend = backend_of(input)
        if input.ndim == 0:
            return backend.full((), 0, dtypes.int64.numpy)
        if dim is None:
            index = backend.arg_reduce(input.reshape(-1), 0, name)[1]
            return index.reshape((1,) * input.ndim) if keepdim else index
        axis = wrap_dim(dim, input.ndim)
        index = backend.arg_reduce(input, axis, name)[1]
        return index.reshape(kept_shape(input.shape, (axis,))) if keepdim else index

    which = "largest" if name == "max" else "smallest"
    position.__doc__ = f"The position of the first {which} element, along `dim` or (None) in the flattened tensor."
    op = array_op(position, name=f"arg{name}")

    @op.batching
    def batch(input: Any, input_shape: Shape, dim: int | None, keepdim: bool, size: int) -> Any:
        if dim is not None:
            return along(op, input, input_shape, {"dim": dim, "keepdim": keepdim}, size)
        check_extreme(f"arg{name}", input_shape, None)
        index = op(reshape(input, shape=(size, -1)), dim=1)
        return reshape(index, shape=(size, *(1,) * len(input_shape))) if keepdim else index

    return op


argmax, argmin = _arg("max"), _arg("min")


def _truth(x: Array) -> Any:
    """The dtype of truth values: PyTorch keeps uint8, its first one for masks."""
    return x.dtype if x.dtype == dtypes.uint8.numpy else dtypes.bool_.numpy


@array_op
def any(input: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    """Whether any element is nonzero."""
    return reduce_array("any", input, dim, keepdim, dtype=_truth(input))


@array_op
def all(input: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    """Whether every element is nonzero."""
    return reduce_array("all", input, dim, keepdim, dtype=_truth(input))


any.batching(along)
all.batching(along)


_EXP_SUM = Reduction(
    trace(lambda x, top: call("exp", x - call("where", call("isfinite", top), top, 0))),
    "sum",
    trace(lambda acc: call("log", acc)),
)
_ADD_TOP = trace(lambda x, top: x + call("where", call("isfinite", top), top, 0))


@array_op(precision=CUDA_FLOAT32)
def logsumexp(input: Array, dim: Dims, keepdim: bool = False) -> Array:
    """`log(sum(exp(input)))` over `dim` (an int or several), with the maximum subtracted first; of integers a float."""
    x = input
    backend = backend_of(x)
    d = dtypes.from_numpy(x.dtype)
    dtype = (d if d.is_floating_point else dtypes.get_default_dtype()).numpy
    dims = wrap_dims(dim, x.ndim)
    if any_empty(x.shape, dims):
        return backend.full(reduced_shape(x.shape, dims, keepdim), -math.inf, dtype)
    if x.dtype != dtype:
        x = backend.astype(x, dtype)
    top = reduce_array("max", x, dims, True)
    total = backend.reduce(_EXP_SUM, (x, top), dtype, wide(dtype), x.shape, dims, True)
    result = backend.elementwise(_ADD_TOP, (total, top), dtype, (dtype,), top.shape)[0]
    return result if keepdim else result.reshape(reduced_shape(x.shape, dims, False))


@elementwise(name="logsumexp_backward", promote="floating", method=False)
def logsumexp_backward(g: Scalar, input: Scalar, result: Scalar) -> Scalar:
    """`g * exp(input - result)`, 0 where all was minus infinity."""
    return g * call("exp", input - call("where", call("eq", result, -math.inf), 0, result))


logsumexp.derivative(
    input=lambda g, input, result, input_shape, dim, keepdim: logsumexp_backward(
        spread(g, shape=input_shape, dim=dim, keepdim=keepdim),
        input,
        spread(result, shape=input_shape, dim=dim, keepdim=keepdim),
    )
)


logsumexp.batching(along)


@array_op(name="norm_dim", grad_name="LinalgVectorNormBackward0", public=False, precision=CUDA_FLOAT32)
def norm_dim(input: Array, p: float, dim: Dims, keepdim: bool) -> Array:
    """The p-norm over `dim`: `sum(abs(x) ** p) ** (1 / p)`."""
    dtype = input.dtype
    if (p < 0 or math.isinf(p)) and _count(input.shape, dim) == 0 and reduced_size(input.shape, dim):
        order = str(p).removesuffix(".0")
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {order} norm on an empty tensor because the operation does not "
            "have an identity"
        )
    named = {1: "norm1", 2: "norm2", math.inf: "norm_inf", -math.inf: "norm_-inf", 0: "norm0"}.get(p)
    if named:
        return reduce_array(named, input, dim, keepdim, dtype=dtype)
    return reduce_array("norm_p", input, dim, keepdim, p, dtype=dtype, p=p)


norm_dim.batching(along)


@elementwise(name="over_or_zero", method=False)
def over_or_zero(input: Scalar, other: Scalar) -> Scalar:
    """`input / other`, 0 where `other` is 0."""
    return call("where", call("eq", other, 0), 0, input / call("where", call("eq", other, 0), 1, other))


def _norm_rule(g: Any, input: Any, result: Any, input_shape: Any, p: float, dim: Dims, keepdim: bool) -> Any:
    if p == 0:
        return None
    g = spread(g, shape=input_shape, dim=dim, keepdim=keepdim)
    if p == 1:
        return mul(g, sign(input))
    result = spread(result, shape=input_shape, dim=dim, keepdim=keepdim)
    if p == 2:
        return mul(g, over_or_zero(input, result))
    if math.isinf(p):
        taken = equal_as_number(abs_op(input), result)
        return mul(mul(sign(input), taken), div(g, sum(taken, dim=dim, keepdim=True)))
    scale = over_or_zero(g, pow_op(result, p - 1))
    return mul(mul(sign(input), pow_op(abs_op(input), p - 1)), scale)


norm_dim.derivative(input=_norm_rule)
