"""Matrix products."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..backends import Array, backend_of
from .arithmetic import add, mul
from .core import array_op, one_backend
from .shape import squeeze, transpose, unsqueeze


def _check(op: str, a: Array, b: Array, names: tuple[str, str] = ("input", "other")) -> None:
    if a.dtype is b.dtype and backend_of(a) is backend_of(b):
        return
    one_backend(op, (a, b), names)
    if a.dtype != b.dtype:
        one, two = dtypes.from_numpy(a.dtype), dtypes.from_numpy(b.dtype)
        raise RuntimeError(
            f"{op}(): expected {names[0]} and {names[1]} to have the same dtype, but got: {one} != {two}; convert one, "
            f"as in {names[1]}.to({names[0]}.dtype)"
        )


def _shapes(a: Array, b: Array) -> str:
    return "x".join(map(str, a.shape)) + " and " + "x".join(map(str, b.shape))


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


@array_op(grad_name=_product_name)
def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with broadcast batch dimensions; a vector is a row on the left, a column on the right."""
    _check("matmul", input, other)
    if input.ndim == 0 or other.ndim == 0:
        raise RuntimeError(
            f"matmul(): both arguments to matmul need to be at least 1D, but they are {input.ndim}D and {other.ndim}D"
        )
    inner = other.shape[-2] if other.ndim > 1 else other.shape[0]
    if input.shape[-1] != inner:
        raise RuntimeError(f"matmul(): mat1 and mat2 shapes cannot be multiplied ({_shapes(input, other)})")
    try:
        return backend_of(input).matmul(input, other)
    except ValueError as error:
        raise RuntimeError(f"matmul(): batch dimensions of {_shapes(input, other)} do not broadcast: {error}") from None


matmul.derivative(input=_matmul_input, other=_matmul_other)


@array_op(grad_name="MmBackward0")
def mm(input: Array, mat2: Array) -> Array:
    """The product of two matrices (n, k) and (k, m): (n, m)."""
    _check("mm", input, mat2, ("self", "mat2"))
    if input.ndim != 2 or mat2.ndim != 2:
        raise RuntimeError(f"mm(): self must be a matrix and mat2 must be a matrix, got {input.ndim}D and {mat2.ndim}D")
    if input.shape[1] != mat2.shape[0]:
        raise RuntimeError(f"mm(): mat1 and mat2 shapes cannot be multiplied ({_shapes(input, mat2)})")
    return backend_of(input).matmul(input, mat2)


mm.derivative(input=lambda g, mat2: mm(g, transposed(mat2)), mat2=lambda g, input: mm(transposed(input), g))


@array_op
def bmm(input: Array, mat2: Array) -> Array:
    """The products of a batch of matrices (b, n, k) and (b, k, m): (b, n, m)."""
    _check("bmm", input, mat2, ("self", "mat2"))
    for name, x in (("self", input), ("mat2", mat2)):
        if x.ndim != 3:
            raise RuntimeError(f"bmm(): batch1 and batch2 must be 3D tensors, but {name} is {x.ndim}D")
    if input.shape[0] != mat2.shape[0] or input.shape[2] != mat2.shape[1]:
        expected = [input.shape[0], input.shape[2], mat2.shape[2]]
        raise RuntimeError(f"bmm(): Expected size for mat2 to be: {expected}, but got: {list(mat2.shape)}")
    return backend_of(input).matmul(input, mat2)


bmm.derivative(input=lambda g, mat2: bmm(g, transposed(mat2)), mat2=lambda g, input: bmm(transposed(input), g))


@array_op
def dot(input: Array, tensor: Array) -> Array:
    """The inner product of two vectors of equal length."""
    _check("dot", input, tensor, ("self", "tensor"))
    if input.ndim != 1 or tensor.ndim != 1:
        raise RuntimeError(f"dot(): 1D tensors expected, but got {input.ndim}D and {tensor.ndim}D tensors")
    if input.shape != tensor.shape:
        raise RuntimeError(
            f"dot(): inconsistent tensor size, expected tensor [{input.shape[0]}] and src [{tensor.shape[0]}] to have "
            f"the same number of elements, but got {input.shape[0]} and {tensor.shape[0]} elements respectively"
        )
    return backend_of(input).matmul(input, tensor)


dot.derivative(input=lambda g, tensor: mul(g, tensor), tensor=lambda g, input: mul(g, input))


@array_op(method=False, grad_name="AddmmBackward0")
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    """`input @ weight.T + bias` for input (..., in), weight (out, in) and bias (out,): (..., out)."""
    _check("linear", input, weight, ("input", "weight"))
    if weight.ndim != 2 or input.ndim == 0 or input.shape[-1] != weight.shape[1]:
        if weight.ndim == 2 and input.ndim == 2:
            text = f"{input.shape[0]}x{input.shape[1]} and {weight.shape[1]}x{weight.shape[0]}"
            raise RuntimeError(f"linear(): mat1 and mat2 shapes cannot be multiplied ({text})")
        raise RuntimeError(
            f"linear(): expected input (..., in) and weight (out, in) with the same `in`, got {list(input.shape)} and "
            f"{list(weight.shape)}"
        )
    if bias is not None:
        _check("linear", input, bias, ("input", "bias"))
        if bias.shape not in (weight.shape[:1], ()):
            raise RuntimeError(
                f"linear(): expected bias of shape [{weight.shape[0]}], got {list(bias.shape)} for weight "
                f"{list(weight.shape)}"
            )
    return backend_of(input).linear(input, weight, bias)


@linear.joint_derivative
def _linear_rule(g: Array, input: Array, weight: Array, needs: tuple[bool, ...]) -> Any:
    # On arrays only: a higher derivative is taken of the composite below.
    return backend_of(g).linear_backward(g, input, weight, needs)


@linear.composite_of
def _linear_composite(input: Any, weight: Any, bias: Any = None) -> Any:
    product = matmul(input, transposed(weight))
    return product if bias is None else add(product, bias)
