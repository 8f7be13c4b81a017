"""Matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..backends import Array, backend_of, is_array
from .arithmetic import add, mul
from .core import array_of, array_op, one_backend
from .precision import CUDA_WIDEST, LOWER
from .shape import Shape, squeeze, transpose, unsqueeze, with_rank


def check_alike(op: str, a: Array, b: Array, names: tuple[str, str] = ("input", "other")) -> None:
    """MixedDevices or RuntimeError unless two arrays are on one device and of one dtype."""
    if a.dtype is b.dtype and backend_of(a) is backend_of(b):
        return
    one_backend(op, (a, b), names)
    if a.dtype != b.dtype:
        one, two = dtypes.from_numpy(a.dtype), dtypes.from_numpy(b.dtype)
        raise RuntimeError(
            f"{op}(): expected {names[0]} and {names[1]} to have the same dtype, but got: {one} != {two}; convert one, "
            f"as in {names[1]}.to({names[0]}.dtype)"
        )


def _shapes(a: Shape, b: Shape) -> str:
    return "x".join(map(str, a)) + " and " + "x".join(map(str, b))


def transposed(x: Any) -> Any:
    """`x` with its last two dimensions swapped."""
    return transpose(x, dim0=-2, dim1=-1)


def _matmul_input(g: Any, other: Any, input_shape: Any, other_shape: Any) -> Any:
    if len(other_shape) == 1:
        return mul(unsqueeze(g, dim=-1), other) if len(input_shape) > 1 else mul(g, other)
    if len(input_shape) == 1:
        return squeeze(matmul(unsqueeze(g, dim=-2), transposed(other)), dim=-2)
    return matmul(g, transposed(other))


def _matmul_other(g: Any, input: Any, input_shape: Any, other_shape: Any) -> Any:
    if len(input_shape) == 1:
        if len(other_shape) == 1:
            return mul(g, input)
        return mul(unsqueeze(input, dim=-1), unsqueeze(g, dim=-2))
    if len(other_shape) == 1:
        return squeeze(matmul(transposed(input), unsqueeze(g, dim=-1)), dim=-1)
    return matmul(transposed(input), g)


def _product_name(node: Any) -> str:
    a, b = (len(shape) for shape, _, _ in node.meta)
    return {(1, 1): "DotBackward0", (2, 1): "MvBackward0", (2, 2): "MmBackward0"}.get((a, b), "MatmulBackward0")


@array_op(grad_name=_product_name, linear=["input", "other"], precision=LOWER)
def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with broadcast batch dimensions; a vector is a row on the left, a column on the right."""
    check_alike("matmul", input, other)
    _check_matmul(input.shape, other.shape)
    try:
        return backend_of(input).matmul(input, other)
    except ValueError as error:
        raise RuntimeError(
            f"matmul(): batch dimensions of {_shapes(input.shape, other.shape)} do not broadcast: {error}"
        ) from None


def _check_matmul(a: Shape, b: Shape) -> None:
    if not a or not b:
        raise RuntimeError(
            f"matmul(): both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D"
        )
    if a[-1] != (b[-2] if len(b) > 1 else b[0]):
        raise RuntimeError(f"matmul(): mat1 and mat2 shapes cannot be multiplied ({_shapes(a, b)})")


@matmul.batching
def _matmul_batch(
    input: Any, other: Any, input_shape: Any, other_shape: Any, batched: Sequence[bool], size: int
) -> Any:
    _check_matmul(input_shape, other_shape)
    n, m = len(input_shape), len(other_shape)
    if not batched[1] and m <= 2:
        return matmul(input, other)  # the members' rows are rows of one matrix
    if not batched[0] and n == m == 1:
        return matmul(other, input)
    if not batched[0] and n == 2 and m == 1:
        return matmul(other, transposed(input))
    rank = max(n, m, 2)
    rows = input if n > 1 else unsqueeze(input, dim=-2)
    columns = other if m > 1 else unsqueeze(other, dim=-1)
    if batched[0]:
        rows = with_rank(rows, rows.shape[1:], rank, size)
    if batched[1]:
        columns = with_rank(columns, columns.shape[1:], rank, size)
    product = matmul(rows, columns)
    product = product if n > 1 else squeeze(product, dim=-2)
    return product if m > 1 else squeeze(product, dim=-1)


matmul.derivative(input=_matmul_input, other=_matmul_other)


@array_op(grad_name="MmBackward0", linear=["input", "mat2"], precision=LOWER)
def mm(input: Array, mat2: Array) -> Array:
    """The product of two matrices (n, k) and (k, m): (n, m)."""
    check_alike("mm", input, mat2, ("self", "mat2"))
    _check_mm(input.shape, mat2.shape)
    return backend_of(input).matmul(input, mat2)


def _check_mm(a: Shape, b: Shape) -> None:
    if len(a) != 2 or len(b) != 2:
        raise RuntimeError(f"mm(): self must be a matrix and mat2 must be a matrix, got {len(a)}D and {len(b)}D")
    if a[1] != b[0]:
        raise RuntimeError(f"mm(): mat1 and mat2 shapes cannot be multiplied ({_shapes(a, b)})")


def _as_matmul(check: Callable[[Shape, Shape], None]) -> Callable[..., Any]:
    """The batch rule of a product that is `matmul` for some shapes."""

    def rule(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool], size: int) -> Any:
        check(*shapes)
        return _matmul_batch(*inputs, *shapes, batched, size)

    return rule


mm.batching(_as_matmul(_check_mm))
mm.derivative(input=lambda g, mat2: mm(g, transposed(mat2)), mat2=lambda g, input: mm(transposed(input), g))


@array_op(linear=["input", "mat2"], precision=LOWER)
def bmm(input: Array, mat2: Array) -> Array:
    """The products of a batch of matrices (b, n, k) and (b, k, m): (b, n, m)."""
    check_alike("bmm", input, mat2, ("self", "mat2"))
    _check_bmm(input.shape, mat2.shape)
    return backend_of(input).matmul(input, mat2)


def _check_bmm(a: Shape, b: Shape) -> None:
    for name, shape in (("self", a), ("mat2", b)):
        if len(shape) != 3:
            raise RuntimeError(f"bmm(): batch1 and batch2 must be 3D tensors, but {name} is {len(shape)}D")
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(f"bmm(): Expected size for mat2 to be: {[a[0], a[2], b[2]]}, but got: {list(b)}")


bmm.batching(_as_matmul(_check_bmm))
bmm.derivative(input=lambda g, mat2: bmm(g, transposed(mat2)), mat2=lambda g, input: bmm(transposed(input), g))


@array_op(linear=["input", "tensor"], precision=CUDA_WIDEST)
def dot(input: Array, tensor: Array) -> Array:
    """The inner product of two vectors of equal length."""
    if is_array(input) and is_array(tensor) and input.dtype != tensor.dtype:
        given, other = dtypes.type_name(input.dtype), dtypes.type_name(tensor.dtype)
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {given} and {other}; convert one, as in "
            "tensor.to(input.dtype)"
        )
    check_alike("dot", input, tensor, ("self", "tensor"))
    _check_dot(input.shape, tensor.shape)
    return backend_of(input).matmul(input, tensor)


def _check_dot(a: Shape, b: Shape) -> None:
    if len(a) != 1 or len(b) != 1:
        raise RuntimeError(f"dot(): 1D tensors expected, but got {len(a)}D and {len(b)}D tensors")
    if a != b:
        raise RuntimeError(
            f"dot(): inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the same number of "
            f"elements, but got {a[0]} and {b[0]} elements respectively"
        )


dot.batching(_as_matmul(_check_dot))
dot.derivative(input=lambda g, tensor: mul(g, tensor), tensor=lambda g, input: mul(g, input))


@array_op(method=False, grad_name="AddmmBackward0", precision=LOWER)
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """`input @ weight.T + bias` for input (..., in), weight (out, in) and bias (out,): (..., out)."""
    _check_linear(input, weight, bias)
    return backend_of(input).linear(input, weight, bias)


def _check_linear(input: Array, weight: Array, bias: Array | None) -> None:
    check_alike("linear", input, weight, ("input", "weight"))
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        if weight.ndim == 2 and input.ndim == 2:
            text = f"{input.shape[0]}x{input.shape[1]} and {weight.shape[1]}x{weight.shape[0]}"
            raise RuntimeError(f"linear(): mat1 and mat2 shapes cannot be multiplied ({text})")
        raise RuntimeError(
            f"linear(): expected input (..., in) and weight (out, in) with the same `in`, got {list(input.shape)} and "
            f"{list(weight.shape)}"
        )
    if bias is not None:
        check_alike("linear", input, bias, ("input", "bias"))
        if bias.shape not in (weight.shape[:1], ()):
            raise RuntimeError(
                f"linear(): expected bias of shape [{weight.shape[0]}], got {list(bias.shape)} for weight "
                f"{list(weight.shape)}"
            )


@linear.batching
def _linear_batch(inputs: Sequence[Any], shapes: Sequence[Any], batched: Sequence[bool]) -> Any:
    # The members' rows are rows of one matrix, if they share the weight.
    return NotImplemented if any(batched[1:]) or not shapes[0] else linear(*inputs)


@linear.joint_derivative
def _linear_rule(g: Array, input: Array, weight: Array, needs: tuple[bool, ...]) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    return backend_of(g).linear_backward(g, input, weight, needs)


@linear.forward_derivative
def _linear_tangent(input: Any, weight: Any, input_tangent: Any, weight_tangent: Any, bias_tangent: Any) -> Any:
    total = bias_tangent
    for x, w in ((input_tangent, weight), (input, weight_tangent)):
        if x is not None and w is not None:
            total = linear(x, w, total) if total is bias_tangent else add(total, linear(x, w))
    return total


@linear.composite_of
def _linear_composite(input: Any, weight: Any, bias: Any = None) -> Any:
    _check_linear(array_of(input), array_of(weight), array_of(bias))
    product = matmul(input, transposed(weight))
    return product if bias is None else add(product, bias)
