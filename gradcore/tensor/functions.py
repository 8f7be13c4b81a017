"""The functions of `gradcore` and methods of `Tensor`, derived from the registry.

An op's function has the op's own signature. What PyTorch spells with several overloads, or composes of others, is
written here in terms of the ops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import dtypes
from ..autograd.autocast import uncast, with_precision
from ..autograd.inplace import apply_inplace, apply_out, copy_values, write_out
from ..autograd.tape import apply, elementwise_function
from ..autograd.variable import Variable
from ..formats import memory_format, preserve_format
from ..ops import REGISTRY, Elementwise, Op, norms, rows, shape
from ..ops import arithmetic as A
from ..ops import reductions as R
from ..ops.broadcast import broadcastable
from ..ops.core import make_function
from ..ops.dims import wrap_dim
from ..ops.precision import LOWER

if TYPE_CHECKING:
    from .tensor import Tensor

Function = Callable[..., Any]


def runner(op: Op) -> Any:
    """What an op's function calls: the short way for elementwise ops without attributes, made on first use."""
    if not isinstance(op, Elementwise) or op.promote == "integral":  # integers have no use for a short way for floats
        return apply
    # (One without a default is always given, and never equal to this.)
    attributes = {n: op.defaults.get(n, op) for n in op.parameters if n not in op.inputs}

    def run(op: Any, inputs: tuple[Any, ...], attrs: dict[str, Any]) -> Any:
        if attrs == attributes:
            fast = elementwise_function(op)
            if fast is not None:
                return fast(*inputs)
        return apply(op, inputs, attrs)

    return run


# The functions that take no `out` in PyTorch either.
_WITHOUT_OUT = frozenset(("clone", "flip", "isfinite", "isinf", "isnan", "linear", "masked_fill", "relu", "roll"))


def _derived() -> tuple[dict[str, Function], dict[str, Function]]:
    """The functions and methods that follow from the registry."""
    public = [op for op in REGISTRY.values() if op.public and (op.methods or not isinstance(op, Elementwise))]
    inplace = [(op, m) for op in REGISTRY.values() for m in op.methods if m.endswith("_")]
    functions = {}
    for op in public:
        takes_out = op.view is False and op.name not in _WITHOUT_OUT  # those whose results are new arrays
        functions[op.name] = make_function(op, op.name, runner(op), apply_out if takes_out else None)
    methods = {m: functions[op.name] for op in public for m in op.methods if m == op.name}
    for op, m in inplace:
        methods[m] = make_function(op, m, apply_inplace)
        methods[m].__doc__ = f"`{op.name}` in place: the tensor is changed and returned."
    return functions, methods


FUNCTIONS, METHODS = _derived()

_div = FUNCTIONS["div"]


def function(f: Function) -> Function:
    """Enter a hand-written function and, if its first parameter is a tensor, the method of the same name."""
    FUNCTIONS[f.__name__] = METHODS[f.__name__] = f
    f.__module__ = "gradcore"
    return f


def alias(name: str, of: str) -> None:
    """Another name for a function and its method."""
    FUNCTIONS[name] = FUNCTIONS[of]
    if of in METHODS:
        METHODS[name] = METHODS[of]


for _name, _of in {
    "multiply": "mul",
    "subtract": "sub",
    "negative": "neg",
    "absolute": "abs",
    "clip": "clamp",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "not_equal": "ne",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "swapaxes": "transpose",
    "swapdims": "transpose",
    "concat": "cat",
    "concatenate": "cat",
}.items():
    alias(_name, _of)


# ---------------------------------------------------------------- arithmetic
def _rounded(input: Tensor, other: Tensor | float, rounding_mode: str) -> Tensor:
    if rounding_mode == "floor":
        return FUNCTIONS["floor_divide"](input, other)
    if rounding_mode != "trunc":
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    if result_type(input, other).is_floating_point:
        return FUNCTIONS["trunc"](_div(input, other))
    down = FUNCTIONS["floor_divide"](input, other)
    return down + ((down < 0) & (down * other != input))


@function
def div(input: Tensor, other: Tensor | float, *, rounding_mode: str | None = None, out: Tensor | None = None) -> Tensor:
    """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""
    if out is not None:
        return write_out("div", (input, other), out, lambda: div(input, other, rounding_mode=rounding_mode))
    return _div(input, other) if rounding_mode is None else _rounded(input, other, rounding_mode)


for _name in ("divide", "true_divide"):
    alias(_name, "div")


def div_(self: Tensor, other: Tensor | float, *, rounding_mode: str | None = None) -> Tensor:
    """`div` in place."""
    return (
        apply_inplace(A.div, (self, other), {})
        if rounding_mode is None
        else copy_(self, _rounded(self, other, rounding_mode))
    )


METHODS["div_"] = div_


def _finite_numbers(input: Tensor, nan: float | None, posinf: float | None, neginf: float | None) -> dict[str, float]:
    limits = dtypes.finfo(input.dtype)
    return {
        "nan": 0.0 if nan is None else float(nan),
        "posinf": limits.max if posinf is None else float(posinf),
        "neginf": limits.min if neginf is None else float(neginf),
    }


@function
def nan_to_num(
    input: Tensor,
    nan: float | None = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """`input` with NaN and the infinities replaced: by 0, the dtype's largest number and its lowest, unless given."""
    if out is not None:
        return write_out("nan_to_num", (input,), out, lambda: nan_to_num(input, nan, posinf, neginf))
    if not input.dtype.is_floating_point:
        return input.clone()
    return apply(A.finite, (input,), _finite_numbers(input, nan, posinf, neginf))


def nan_to_num_(
    self: Tensor, nan: float | None = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """`nan_to_num` in place."""
    if not self.dtype.is_floating_point:
        return self
    return apply_inplace(A.finite, (self,), _finite_numbers(self, nan, posinf, neginf))


METHODS["nan_to_num_"] = nan_to_num_


@function
def where(condition: Tensor, input: Tensor | float | None = None, other: Tensor | float | None = None) -> Tensor:
    """`input` where `condition` (a bool tensor) holds, else `other`."""
    if input is None or other is None:
        raise TypeError("where() takes condition, input and other")
    if isinstance(condition, Variable) and condition._array.dtype.kind != "b":
        raise RuntimeError(
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype}"
        )
    return apply(A.where, (condition, input, other), {})


def _where(self: Tensor, condition: Tensor, other: Tensor | float) -> Tensor:
    """`self` where `condition` (a bool tensor) holds, else `other`."""
    return where(condition, self, other)


METHODS["where"] = _where


# ---------------------------------------------------------------- reductions
class ReturnType(NamedTuple):
    """What `max(dim)`, `min(dim)` and `median(dim)` return: `(values, indices)`."""

    values: Tensor
    indices: Tensor


class max_result(ReturnType):
    def __repr__(self) -> str:
        return f"gradcore.return_types.max(\nvalues={self.values!r},\nindices={self.indices!r})"


class min_result(ReturnType):
    def __repr__(self) -> str:
        return f"gradcore.return_types.min(\nvalues={self.values!r},\nindices={self.indices!r})"


class median_result(ReturnType):
    def __repr__(self) -> str:
        return f"gradcore.return_types.median(\nvalues={self.values!r},\nindices={self.indices!r})"


def _extreme(name: str, everything: Op, along: Op, pairwise: str, result: Any) -> None:
    _along = make_function(along, name, apply)

    def extreme(input: Any, *args: Any, **kwargs: Any) -> Any:
        if "axis" in kwargs:
            kwargs["dim"] = kwargs.pop("axis")
        first = args[0] if args else kwargs.get("dim", kwargs.get("other"))
        if first is None:
            return apply(everything, (input,), {})
        if isinstance(first, Variable):
            return FUNCTIONS[pairwise](input, first)
        return result(*_along(input, *args, **kwargs))

    extreme.__name__ = extreme.__qualname__ = name
    extreme.__doc__ = (
        f"`{name}(input)`: the extreme element. `{name}(input, dim, keepdim=False)`: (values, indices) along `dim`. "
        f"`{name}(input, other)`: elementwise."
    )
    function(extreme)


_extreme("max", R.max_all, R.max_dim, "maximum", max_result)
_extreme("min", R.min_all, R.min_dim, "minimum", min_result)


@function
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Tensor:
    """The product over `dim` (None: all); integers are multiplied as int64."""
    return apply(R.prod_dim, (input,), {"dim": dim, "keepdim": keepdim, "dtype": dtype})


_ALIASES = {"axis": "dim", "keepdims": "keepdim"}


def _spread_arguments(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's two ways to call var and std: (dim, unbiased, keepdim) and (dim, correction=, keepdim=)."""
    names = ("dim", "unbiased", "keepdim")
    if args and isinstance(args[0], bool):
        args = (None, *args)
    given = {**dict(zip(names, args)), **{_ALIASES.get(n, n): v for n, v in kwargs.items()}}
    unknown = set(given) - {*names, "correction"}
    if unknown:
        raise TypeError(f"{op}() got an unexpected keyword argument '{unknown.pop()}'")
    correction = given.get("correction", 1)
    if "unbiased" in given:
        correction = 1 if given["unbiased"] else 0
    return {
        "dim": given.get("dim"),
        "correction": 1 if correction is None else correction,
        "keepdim": given.get("keepdim", False),
    }


@function
def var(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of freedom."""
    return apply(R.var_dim, (input,), _spread_arguments("var", args, kwargs))


@function
def std(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""
    return apply(R.std_dim, (input,), _spread_arguments("std", args, kwargs))


def _softmax(op: Op, input: Tensor, dim: int, dtype: dtypes.dtype | None) -> Tensor:
    if dtype is not None:  # what is asked for holds under autocast, too
        return uncast(apply, op, (input.to(dtype),), {"dim": dim})
    return apply(op, (input,), {"dim": dim})


@function
def softmax(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """`exp(x) / sum(exp(x))` along `dim`."""
    return _softmax(rows.softmax, input, dim, dtype)


@function
def log_softmax(input: Tensor, dim: int, dtype: dtypes.dtype | None = None) -> Tensor:
    """`x - log(sum(exp(x)))` along `dim`."""
    return _softmax(rows.log_softmax, input, dim, dtype)


def _norm_arguments(op: str, input: Any, shape: Any, weight: Any, bias: Any, eps: Any) -> dict[str, Any]:
    """The attributes of a norm; TypeError for an argument of the wrong kind."""
    for position, name, value in ((1, "input", input), (3, "weight", weight), (4, "bias", bias)):
        if not isinstance(value, Variable) and (value is not None or name == "input"):
            raise TypeError(f"{op}(): argument '{name}' (position {position}) must be Tensor, not {_kind(value)}")
    if not isinstance(shape, (tuple, list)):
        raise TypeError(f"{op}(): argument 'normalized_shape' (position 2) must be tuple of ints, not {_kind(shape)}")
    for i, size in enumerate(shape):
        if not isinstance(size, int):
            raise TypeError(
                f"{op}(): argument 'normalized_shape' (position 2) must be tuple of ints, but found element of type "
                f"{_kind(size)} at pos {i}"
            )
    if not isinstance(eps, (int, float)):
        position = 5 if op == "layer_norm" else 4
        raise TypeError(f"{op}(): argument 'eps' (position {position}) must be float, not {_kind(eps)}")
    return {"normalized_shape": tuple(shape), "eps": float(eps)}


def _kind(value: Any) -> str:
    return type(value).__name__


@function
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-05,
) -> Tensor:
    """`(x - mean) / sqrt(variance + eps) * weight + bias`, over the last dimensions (Ba et al., arXiv 1607.06450).

    Args:
        input: (..., *normalized_shape), floating point.
        normalized_shape: the sizes of the dimensions that mean and (biased) variance are taken over.
        weight: a factor for each element of normalized_shape, and bias a summand, in the input's dtype; with a float16
            or bfloat16 input, which is computed in float32, they may also be float32.

    Raises:
        RuntimeError, TypeError, NotImplementedError: shapes or dtypes do not fit.

    >>> import gradcore
    >>> gradcore.layer_norm(gradcore.tensor([[1.0, 2.0, 3.0]]), (3,))
    tensor([[-1.2247,  0.0000,  1.2247]])
    """
    attrs = _norm_arguments("layer_norm", input, normalized_shape, weight, bias, eps)
    return apply(norms.layer_norm, (input, weight, bias), attrs)


@function
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimensions (Zhang and Sennrich, NeurIPS 2019).

    Args:
        input: (..., *normalized_shape), floating point; the result has its dtype.
        normalized_shape: the sizes of the dimensions that the mean is taken over.
        weight: a factor for each element of normalized_shape.
        eps: None means the machine epsilon of the dtype computed in: float32's for float16 and bfloat16.

    Raises:
        RuntimeError, ValueError, TypeError, NotImplementedError: shapes or dtypes do not fit.

    >>> import gradcore
    >>> gradcore.rms_norm(gradcore.tensor([[3.0, 4.0, 0.0, 0.0]]), (4,))
    tensor([[1.2000, 1.6000, 0.0000, 0.0000]])
    """
    if eps is None:
        double = isinstance(input, Variable) and input.dtype is dtypes.float64
        eps = dtypes.finfo(dtypes.float64 if double else dtypes.float32).eps
    attrs = _norm_arguments("rms_norm", input, normalized_shape, weight, None, eps)
    return apply(norms.rms_norm, (input, weight), attrs)


# As in PyTorch, they are no methods.
METHODS.pop("layer_norm")
METHODS.pop("rms_norm")


@function
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `abs(input - other) <= atol + rtol * abs(other)` everywhere."""
    if input.dtype is not other.dtype:
        raise RuntimeError(f"{type_of(input)} did not match {type_of(other)}: allclose() takes tensors of one dtype")
    a, b = input.detach(), other.detach()
    close = a == b
    if a.dtype is not dtypes.bool_:
        close = close | ((a - b).abs() <= atol + rtol * b.abs()) & b.isfinite()
    if equal_nan:
        close = close | (a.isnan() & b.isnan())
    return bool(close.all())


def type_of(t: Tensor) -> str:
    """The dtype's name, capitalised as PyTorch does in messages."""
    return str(t.dtype.name).capitalize()


@function
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether both have the same shape and elements."""
    if not isinstance(other, Variable):
        raise TypeError(f"equal(): argument 'other' (position 2) must be Tensor, not {type(other).__name__}")
    return input.shape == other.shape and bool((input.detach() == other.detach()).all())


# ---------------------------------------------------------------- products
@function
@with_precision(LOWER)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`."""
    if input.dtype is not mat1.dtype:
        raise RuntimeError(
            f"addmm(): input and mat1 must have the same dtype, but got {type_of(input)} and {type_of(mat1)}; convert "
            "one, as in input.to(mat1.dtype)"
        )
    product = FUNCTIONS["mm"](mat1, mat2)
    input = input.expand(product.shape)
    if alpha != 1:
        product = product * alpha
    if beta == 0:
        return product
    return (input if beta == 1 else input * beta) + product


def addmm_(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """`addmm` in place: the tensor is changed and returned."""
    result = addmm(self, mat1, mat2, beta=beta, alpha=alpha)
    if result.shape != self.shape:
        raise RuntimeError(f"The expanded size of the tensor {list(self.shape)} must match {list(result.shape)}")
    return copy_(self, result)


METHODS["addmm_"] = addmm_


@function
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of all pairs of elements of two vectors: (n, m)."""
    if input.ndim != 1 or vec2.ndim != 1:
        raise RuntimeError(f"outer: Expected 1-D argument self and vec2, but got {input.ndim}-D and {vec2.ndim}-D")
    return input.unsqueeze(1) * vec2


alias("ger", "outer")


# ---------------------------------------------------------------- shapes
@function
def split(input: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces along `dim`: of one size (the last may be smaller), or of the given sizes."""
    if input.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    axis = wrap_dim(dim, input.ndim)
    sizes = shape.split_shapes(input.shape[axis], split_size_or_sections, axis)
    out = apply(shape.split_sizes, (input,), {"sizes": sizes, "dim": axis})
    return out if isinstance(out, tuple) else (out,)


def _split(self: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces along `dim`: of one size (the last may be smaller), or of the given sizes."""
    return split(self, split_size, dim)


METHODS["split"] = _split


@function
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal pieces along `dim` (the last may be smaller)."""
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    if input.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    size = input.shape[wrap_dim(dim, input.ndim)]
    return split(input, -(-size // chunks) if size else [0] * chunks, dim)


@function
def numel(input: Tensor) -> int:
    """The number of elements."""
    return int(input._array.size)


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """`self` expanded to the shape of `other`."""
    return self.expand(other.shape)


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """`self` viewed in the shape of `other`."""
    return self.view(other.shape)


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """`self` in the shape of `other`."""
    return self.reshape(other.shape)


# ---------------------------------------------------------------- writing
def copy_(self: Tensor, src: Tensor | float, non_blocking: bool = False) -> Tensor:
    """Overwrite the tensor with `src`, broadcast and converted to its dtype and device."""
    if not isinstance(src, (Variable, bool, int, float)):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}")
    if isinstance(src, Variable) and src._array.ndim and not broadcastable(src._array.shape, self._array.shape):
        raise RuntimeError(
            f"copy_(): The size of tensor a {list(self._array.shape)} must match the size of tensor b "
            f"{list(src._array.shape)}, or tensor b must broadcast to it"
        )
    return apply_inplace(copy_values, (self, src), {})


def fill_(self: Tensor, value: Tensor | float) -> Tensor:
    """Overwrite every element with one value."""
    if isinstance(value, Variable) and value._array.ndim:
        raise RuntimeError(
            f"fill_ only supports 0-dimension value tensor but got tensor with {value._array.ndim} dimensions."
        )
    if not isinstance(value, (Variable, bool, int, float)):
        raise TypeError(f"fill_(): argument 'value' (position 1) must be Tensor or Number, not {type(value).__name__}")
    if not isinstance(value, Variable):
        dtypes.check_fits(value, self.dtype)
    return apply_inplace(copy_values, (self, value), {})


@function
def fill(input: Tensor, value: Tensor | float) -> Tensor:
    """A tensor like `input` with one value for every element."""
    return fill_(input.clone(), value)


METHODS.pop("fill")


def zero_(self: Tensor) -> Tensor:
    """Overwrite every element with 0."""
    return fill_(self, 0)


METHODS.update({f.__name__: f for f in (expand_as, view_as, reshape_as, copy_, fill_, zero_)})


# ---------------------------------------------------------------- dtypes
def _converter(name: str, dtype: dtypes.dtype) -> None:
    def convert(self: Tensor, memory_format: memory_format = preserve_format) -> Tensor:
        return self.to(dtype, memory_format=memory_format)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The tensor as {dtype}."
    METHODS[name] = convert


for _name, _dtype in {
    **dtypes.ALIASES,
    "bool": dtypes.bool_,
    "bfloat16": dtypes.bfloat16,
    "byte": dtypes.uint8,
    "char": dtypes.int8,
}.items():
    _converter(_name, _dtype)


@function
def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Variable)


@function
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating point one."""
    return bool(input.dtype.is_floating_point)


METHODS.pop("is_tensor")
METHODS.pop("is_floating_point")
METHODS.pop("numel")


@function
def result_type(tensor1: Tensor | float, tensor2: Tensor | float) -> dtypes.dtype:
    """The dtype that arithmetic on the two (tensors or numbers) gives."""
    from ..ops.elementwise import promoted_type

    return promoted_type(
        [
            (x._array.dtype, x._array.ndim > 0) if isinstance(x, Variable) else (type(x), None)
            for x in (tensor1, tensor2)
        ]
    )


METHODS.pop("result_type")
