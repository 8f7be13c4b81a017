"""What the registry adds to `Tensor`, for type checkers and editors. Written by scripts/generate_stubs.py."""

from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from collections.abc import Sequence
from typing import Any, overload

from typing_extensions import Self

from ..autograd.variable import Variable
from ..devices import device
from ..dtypes import dtype
from ..formats import memory_format
from .functions import max_result, median_result, min_result
from .random import Generator
from .selecting import sort_result, topk_result
from .tensor import Tensor

class TensorMethods(Variable):
    @overload
    def reshape(self, shape: Sequence[_int]) -> Tensor:
        """The same elements in another shape: a view where strides allow it, else a copy. One size may be -1."""
    @overload
    def reshape(self, *shape: _int) -> Tensor:
        """The same elements in another shape: a view where strides allow it, else a copy. One size may be -1."""
    @overload
    def view(self, shape: Sequence[_int]) -> Tensor:
        """A view of the same elements in another shape; RuntimeError if that would need a copy."""
    @overload
    def view(self, *shape: _int) -> Tensor:
        """A view of the same elements in another shape; RuntimeError if that would need a copy."""
    def transpose(self, dim0: _int, dim1: _int) -> Tensor:
        """`input` with two dimensions swapped: a view."""
    def t(self) -> Tensor:
        """The transpose of a tensor of at most two dimensions: a view."""
    @overload
    def permute(self, dims: Sequence[_int]) -> Tensor:
        """`input` with its dimensions in the order `dims`: a view."""
    @overload
    def permute(self, *dims: _int) -> Tensor:
        """`input` with its dimensions in the order `dims`: a view."""
    def squeeze(self, dim: _int | Sequence[_int] | None = None) -> Tensor:
        """`input` without its dimensions of size 1 (those among `dim`, if given): a view."""
    def unsqueeze(self, dim: _int) -> Tensor:
        """`input` with a dimension of size 1 inserted at `dim`: a view."""
    @overload
    def expand(self, size: Sequence[_int]) -> Tensor:
        """`input` with dimensions of size 1 repeated to `size` (-1: unchanged) without copying: a view."""
    @overload
    def expand(self, *size: _int) -> Tensor:
        """`input` with dimensions of size 1 repeated to `size` (-1: unchanged) without copying: a view."""
    def contiguous(self, memory_format: memory_format = ...) -> Tensor:
        """`input` itself if its elements lie in memory in the order that is asked for, else a copy where they do."""
    def clone(self, *, memory_format: memory_format = ...) -> Tensor:
        """A copy, through which gradients flow."""
    def narrow(self, dim: _int, start: _int, length: _int) -> Tensor:
        """The elements `start` to `start + length - 1` along `dim`: a view."""
    def add(self, other: Tensor | _float, *, alpha: _float = 1) -> Tensor:
        """`input + alpha * other`, elementwise with broadcasting and type promotion."""
    def sub(self, other: Tensor | _float, *, alpha: _float = 1) -> Tensor:
        """`input - alpha * other`, elementwise with broadcasting and type promotion."""
    def mul(self, other: Tensor | _float) -> Tensor:
        """`input * other`, elementwise with broadcasting and type promotion."""
    def div(self, other: Tensor | _float, *, rounding_mode: str | None = None) -> Tensor:
        """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""
    def floor_divide(self, other: Tensor | _float) -> Tensor:
        """`input / other` rounded down, elementwise."""
    def remainder(self, other: Tensor | _float) -> Tensor:
        """Python's `input % other`: the result has the sign of the divisor."""
    def pow(self, exponent: Tensor | _float) -> Tensor:
        """`input ** exponent`, elementwise."""
    def neg(self) -> Tensor:
        """`-input`."""
    def abs(self) -> Tensor:
        """The absolute value; its derivative at 0 is 0."""
    def sign(self) -> Tensor:
        """-1, 0 or 1; of a bool the bool itself."""
    def square(self) -> Tensor:
        """`input * input`; of bools as int64."""
    def reciprocal(self) -> Tensor:
        """`1 / input`."""
    def floor(self) -> Tensor:
        """The largest integer not above `input`; its derivative is 0."""
    def ceil(self) -> Tensor:
        """The smallest integer not below `input`; its derivative is 0."""
    def round(self) -> Tensor:
        """The nearest integer, halves to even; its derivative is 0."""
    def trunc(self) -> Tensor:
        """`input` without its fraction; its derivative is 0."""
    def maximum(self, other: Tensor | _float) -> Tensor:
        """The larger of the two, NaN if either is NaN; a tie splits the gradient evenly."""
    def minimum(self, other: Tensor | _float) -> Tensor:
        """The smaller of the two, NaN if either is NaN; a tie splits the gradient evenly."""
    def clamp(self, min: Tensor | _float | None = None, max: Tensor | _float | None = None) -> Tensor:
        """`input` limited to [min, max]; either bound may be None, a number or a tensor. The bounds count as inside."""
    def addcdiv(self, tensor1: Tensor | _float, tensor2: Tensor | _float, *, value: _float = 1) -> Tensor:
        """`input + value * tensor1 / tensor2`, elementwise with broadcasting."""
    def addcmul(self, tensor1: Tensor | _float, tensor2: Tensor | _float, *, value: _float = 1) -> Tensor:
        """`input + value * tensor1 * tensor2`, elementwise with broadcasting and type promotion."""
    def lerp(self, end: Tensor | _float, weight: Tensor | _float) -> Tensor:
        """`input + weight * (end - input)`: `input` where `weight`, a tensor or a number, is 0, and `end` where it is
        1."""
    def clamp_min(self, min: Tensor | _float) -> Tensor:
        """The larger of `input` and `min`, a tensor or a number; where they are equal, `input` gets the gradient."""
    def clamp_max(self, max: Tensor | _float) -> Tensor:
        """The smaller of `input` and `max`, a tensor or a number; where they are equal, `input` gets the gradient."""
    def eq(self, other: Tensor | _float) -> Tensor:
        """`input == other`, elementwise: a bool tensor."""
    def ne(self, other: Tensor | _float) -> Tensor:
        """`input != other`, elementwise: a bool tensor."""
    def lt(self, other: Tensor | _float) -> Tensor:
        """`input < other`, elementwise: a bool tensor."""
    def le(self, other: Tensor | _float) -> Tensor:
        """`input <= other`, elementwise: a bool tensor."""
    def gt(self, other: Tensor | _float) -> Tensor:
        """`input > other`, elementwise: a bool tensor."""
    def ge(self, other: Tensor | _float) -> Tensor:
        """`input >= other`, elementwise: a bool tensor."""
    def isnan(self) -> Tensor:
        """Whether each element is NaN."""
    def isinf(self) -> Tensor:
        """Whether each element is positive or negative infinity."""
    def isfinite(self) -> Tensor:
        """Whether each element is neither infinite nor NaN."""
    def logical_and(self, other: Tensor | _float) -> Tensor:
        """Whether both are nonzero."""
    def logical_or(self, other: Tensor | _float) -> Tensor:
        """Whether either is nonzero."""
    def logical_xor(self, other: Tensor | _float) -> Tensor:
        """Whether exactly one is nonzero."""
    def logical_not(self) -> Tensor:
        """Whether it is zero."""
    def bitwise_and(self, other: Tensor | _float) -> Tensor:
        """Bitwise and of integers, logical and of bools."""
    def bitwise_or(self, other: Tensor | _float) -> Tensor:
        """Bitwise or of integers, logical or of bools."""
    def bitwise_xor(self, other: Tensor | _float) -> Tensor:
        """Bitwise exclusive or of integers, logical exclusive or of bools."""
    def bitwise_not(self) -> Tensor:
        """Bitwise complement of integers, logical not of bools."""
    def relu(self) -> Tensor:
        """`max(input, 0)`; NaN stays NaN, the derivative at 0 is 0."""
    def hardshrink(self, *, lambd: _float = 0.5) -> Tensor:
        """`input` outside [-lambd, lambd], else 0."""
    def matmul(self, other: Tensor) -> Tensor:
        """The matrix product, with broadcast batch dimensions; a vector is a row on the left, a column on the right."""
    def mm(self, mat2: Tensor) -> Tensor:
        """The product of two matrices (n, k) and (k, m): (n, m)."""
    def bmm(self, mat2: Tensor) -> Tensor:
        """The products of a batch of matrices (b, n, k) and (b, k, m): (b, n, m)."""
    def dot(self, tensor: Tensor) -> Tensor:
        """The inner product of two vectors of equal length."""
    def gather(self, dim: _int, index: Tensor, *, sparse_grad: _bool = False) -> Tensor:
        """The elements of `input` that `index` names along `dim`: `out[i, j] = input[index[i, j], j]` for `dim` 0."""
    def sum(
        self, dim: _int | Sequence[_int] | None = None, keepdim: _bool = False, *, dtype: dtype | None = None
    ) -> Tensor:
        """The sum over `dim` (an int, several, or None for all); integers and bools are summed as int64."""
    def mean(
        self, dim: _int | Sequence[_int] | None = None, keepdim: _bool = False, *, dtype: dtype | None = None
    ) -> Tensor:
        """The mean over `dim`."""
    def amax(self, dim: _int | Sequence[_int] | None = (), keepdim: _bool = False) -> Tensor:
        """The largest element over `dim`; equal ones share the gradient."""
    def amin(self, dim: _int | Sequence[_int] | None = (), keepdim: _bool = False) -> Tensor:
        """The smallest element over `dim`; equal ones share the gradient."""
    def argmax(self, dim: _int | None = None, keepdim: _bool = False) -> Tensor:
        """The position of the first largest element, along `dim` or (None) in the flattened tensor."""
    def argmin(self, dim: _int | None = None, keepdim: _bool = False) -> Tensor:
        """The position of the first smallest element, along `dim` or (None) in the flattened tensor."""
    def any(self, dim: _int | Sequence[_int] | None = None, keepdim: _bool = False) -> Tensor:
        """Whether any element is nonzero."""
    def all(self, dim: _int | Sequence[_int] | None = None, keepdim: _bool = False) -> Tensor:
        """Whether every element is nonzero."""
    def logsumexp(self, dim: _int | Sequence[_int] | None, keepdim: _bool = False) -> Tensor:
        """`log(sum(exp(input)))` over `dim` (an int or several), with the maximum subtracted first; of integers a
        float."""
    def exp(self) -> Tensor:
        """The exponential."""
    def expm1(self) -> Tensor:
        """`exp(input) - 1`, accurate near 0."""
    def log(self) -> Tensor:
        """The natural logarithm."""
    def log1p(self) -> Tensor:
        """`log(1 + input)`, accurate near 0."""
    def log2(self) -> Tensor:
        """The logarithm to base 2."""
    def log10(self) -> Tensor:
        """The logarithm to base 10."""
    def sqrt(self) -> Tensor:
        """The square root; its derivative at 0 is infinite."""
    def rsqrt(self) -> Tensor:
        """`1 / sqrt(input)`."""
    def sin(self) -> Tensor:
        """The sine of an angle in radians."""
    def cos(self) -> Tensor:
        """The cosine of an angle in radians."""
    def tan(self) -> Tensor:
        """The tangent of an angle in radians."""
    def asin(self) -> Tensor:
        """The angle in radians, in [-pi/2, pi/2], whose sine is `input`."""
    def acos(self) -> Tensor:
        """The angle in radians, in [0, pi], whose cosine is `input`."""
    def atan(self) -> Tensor:
        """The angle in radians, in [-pi/2, pi/2], whose tangent is `input`."""
    def sinh(self) -> Tensor:
        """The hyperbolic sine."""
    def cosh(self) -> Tensor:
        """The hyperbolic cosine."""
    def tanh(self) -> Tensor:
        """The hyperbolic tangent."""
    def sigmoid(self) -> Tensor:
        """The logistic function `1 / (1 + exp(-input))`."""
    def erf(self) -> Tensor:
        """The error function `2 / sqrt(pi) * integral from 0 to input of exp(-t**2)`."""
    def masked_fill(self, mask: Tensor, value: Tensor | _float) -> Tensor:
        """`input` with `value`, a number or a tensor without dimensions, where `mask`, bool and broadcast, is True."""
    def tril(self, diagonal: _int = 0) -> Tensor:
        """The elements of the matrices in the last two dimensions on and below a diagonal, 0 elsewhere; `diagonal`
        counts from the main one to the right."""
    def triu(self, diagonal: _int = 0) -> Tensor:
        """The elements of the matrices in the last two dimensions on and above a diagonal, 0 elsewhere; `diagonal`
        counts from the main one to the right."""
    @overload
    def flip(self, dims: Sequence[_int]) -> Tensor:
        """`input` with the order of its elements along the dimensions `dims` reversed: a copy."""
    @overload
    def flip(self, *dims: _int) -> Tensor:
        """`input` with the order of its elements along the dimensions `dims` reversed: a copy."""
    def roll(self, shifts: _int | Sequence[_int], dims: _int | Sequence[_int] | None = None) -> Tensor:
        """`input` with its elements moved by `shifts` along `dims`, what is moved beyond the end coming in at the
        start."""
    def diagonal(self, offset: _int = 0, dim1: _int = 0, dim2: _int = 1) -> Tensor:
        """The diagonal of the matrices in dimensions `dim1` and `dim2`, as the last dimension: a view."""
    def cumsum(self, dim: _int, *, dtype: dtype | None = None) -> Tensor:
        """The sums of the elements up to each one along `dim`; integers and bools are summed as int64."""
    def scatter_add(self, dim: _int, index: Tensor, src: Tensor) -> Tensor:
        """`input` with `src` added at the places that `index` names along `dim`: `out[index[i, j], j] += src[i, j]` for
        0."""
    def scatter_reduce(
        self, dim: _int, index: Tensor, src: Tensor, reduce: str, *, include_self: _bool = True
    ) -> Tensor:
        """`input` with what `src` puts on each place that `index` names along `dim` reduced: sum, prod, mean, amax or
        amin."""
    def index_select(self, dim: _int, index: Tensor) -> Tensor:
        """The slices of `input` along `dim` that `index`, a vector of int64 or int32, names: a copy."""
    def index_add(self, dim: _int, index: Tensor, source: Tensor, *, alpha: _float = 1) -> Tensor:
        """`input` with `alpha` times the slices of `source` along `dim` added at the places `index`, in a fixed
        order."""
    def index_copy(self, dim: _int, index: Tensor, source: Tensor) -> Tensor:
        """`input` with the slices of `source` along `dim` at the places `index`. Shapes and errors are
        `index_add`'s."""
    def add_(self, other: Tensor | _float, *, alpha: _float = 1) -> Self:
        """`add` in place: the tensor is changed and returned."""
    def sub_(self, other: Tensor | _float, *, alpha: _float = 1) -> Self:
        """`sub` in place: the tensor is changed and returned."""
    def mul_(self, other: Tensor | _float) -> Self:
        """`mul` in place: the tensor is changed and returned."""
    def floor_divide_(self, other: Tensor | _float) -> Self:
        """`floor_divide` in place: the tensor is changed and returned."""
    def remainder_(self, other: Tensor | _float) -> Self:
        """`remainder` in place: the tensor is changed and returned."""
    def pow_(self, exponent: Tensor | _float) -> Self:
        """`pow` in place: the tensor is changed and returned."""
    def neg_(self) -> Self:
        """`neg` in place: the tensor is changed and returned."""
    def abs_(self) -> Self:
        """`abs` in place: the tensor is changed and returned."""
    def sign_(self) -> Self:
        """`sign` in place: the tensor is changed and returned."""
    def square_(self) -> Self:
        """`square` in place: the tensor is changed and returned."""
    def reciprocal_(self) -> Self:
        """`reciprocal` in place: the tensor is changed and returned."""
    def floor_(self) -> Self:
        """`floor` in place: the tensor is changed and returned."""
    def ceil_(self) -> Self:
        """`ceil` in place: the tensor is changed and returned."""
    def round_(self) -> Self:
        """`round` in place: the tensor is changed and returned."""
    def trunc_(self) -> Self:
        """`trunc` in place: the tensor is changed and returned."""
    def clamp_(self, min: Tensor | _float | None = None, max: Tensor | _float | None = None) -> Self:
        """`clamp` in place: the tensor is changed and returned."""
    def addcdiv_(self, tensor1: Tensor | _float, tensor2: Tensor | _float, *, value: _float = 1) -> Self:
        """`addcdiv` in place: the tensor is changed and returned."""
    def addcmul_(self, tensor1: Tensor | _float, tensor2: Tensor | _float, *, value: _float = 1) -> Self:
        """`addcmul` in place: the tensor is changed and returned."""
    def lerp_(self, end: Tensor | _float, weight: Tensor | _float) -> Self:
        """`lerp` in place: the tensor is changed and returned."""
    def clamp_min_(self, min: Tensor | _float) -> Self:
        """`clamp_min` in place: the tensor is changed and returned."""
    def clamp_max_(self, max: Tensor | _float) -> Self:
        """`clamp_max` in place: the tensor is changed and returned."""
    def eq_(self, other: Tensor | _float) -> Self:
        """`eq` in place: the tensor is changed and returned."""
    def ne_(self, other: Tensor | _float) -> Self:
        """`ne` in place: the tensor is changed and returned."""
    def lt_(self, other: Tensor | _float) -> Self:
        """`lt` in place: the tensor is changed and returned."""
    def le_(self, other: Tensor | _float) -> Self:
        """`le` in place: the tensor is changed and returned."""
    def gt_(self, other: Tensor | _float) -> Self:
        """`gt` in place: the tensor is changed and returned."""
    def ge_(self, other: Tensor | _float) -> Self:
        """`ge` in place: the tensor is changed and returned."""
    def logical_and_(self, other: Tensor | _float) -> Self:
        """`logical_and` in place: the tensor is changed and returned."""
    def logical_or_(self, other: Tensor | _float) -> Self:
        """`logical_or` in place: the tensor is changed and returned."""
    def logical_xor_(self, other: Tensor | _float) -> Self:
        """`logical_xor` in place: the tensor is changed and returned."""
    def logical_not_(self) -> Self:
        """`logical_not` in place: the tensor is changed and returned."""
    def bitwise_and_(self, other: Tensor | _float) -> Self:
        """`bitwise_and` in place: the tensor is changed and returned."""
    def bitwise_or_(self, other: Tensor | _float) -> Self:
        """`bitwise_or` in place: the tensor is changed and returned."""
    def bitwise_xor_(self, other: Tensor | _float) -> Self:
        """`bitwise_xor` in place: the tensor is changed and returned."""
    def bitwise_not_(self) -> Self:
        """`bitwise_not` in place: the tensor is changed and returned."""
    def relu_(self) -> Self:
        """`relu` in place: the tensor is changed and returned."""
    def exp_(self) -> Self:
        """`exp` in place: the tensor is changed and returned."""
    def expm1_(self) -> Self:
        """`expm1` in place: the tensor is changed and returned."""
    def log_(self) -> Self:
        """`log` in place: the tensor is changed and returned."""
    def log1p_(self) -> Self:
        """`log1p` in place: the tensor is changed and returned."""
    def log2_(self) -> Self:
        """`log2` in place: the tensor is changed and returned."""
    def log10_(self) -> Self:
        """`log10` in place: the tensor is changed and returned."""
    def sqrt_(self) -> Self:
        """`sqrt` in place: the tensor is changed and returned."""
    def rsqrt_(self) -> Self:
        """`rsqrt` in place: the tensor is changed and returned."""
    def sin_(self) -> Self:
        """`sin` in place: the tensor is changed and returned."""
    def cos_(self) -> Self:
        """`cos` in place: the tensor is changed and returned."""
    def tan_(self) -> Self:
        """`tan` in place: the tensor is changed and returned."""
    def asin_(self) -> Self:
        """`asin` in place: the tensor is changed and returned."""
    def acos_(self) -> Self:
        """`acos` in place: the tensor is changed and returned."""
    def atan_(self) -> Self:
        """`atan` in place: the tensor is changed and returned."""
    def sinh_(self) -> Self:
        """`sinh` in place: the tensor is changed and returned."""
    def cosh_(self) -> Self:
        """`cosh` in place: the tensor is changed and returned."""
    def tanh_(self) -> Self:
        """`tanh` in place: the tensor is changed and returned."""
    def sigmoid_(self) -> Self:
        """`sigmoid` in place: the tensor is changed and returned."""
    def erf_(self) -> Self:
        """`erf` in place: the tensor is changed and returned."""
    def masked_fill_(self, mask: Tensor, value: Tensor | _float) -> Self:
        """`masked_fill` in place: the tensor is changed and returned."""
    def tril_(self, diagonal: _int = 0) -> Self:
        """`tril` in place: the tensor is changed and returned."""
    def triu_(self, diagonal: _int = 0) -> Self:
        """`triu` in place: the tensor is changed and returned."""
    def scatter_add_(self, dim: _int, index: Tensor, src: Tensor) -> Self:
        """`scatter_add` in place: the tensor is changed and returned."""
    def scatter_reduce_(
        self, dim: _int, index: Tensor, src: Tensor, reduce: str, *, include_self: _bool = True
    ) -> Self:
        """`scatter_reduce` in place: the tensor is changed and returned."""
    def index_add_(self, dim: _int, index: Tensor, source: Tensor, *, alpha: _float = 1) -> Self:
        """`index_add` in place: the tensor is changed and returned."""
    def index_copy_(self, dim: _int, index: Tensor, source: Tensor) -> Self:
        """`index_copy` in place: the tensor is changed and returned."""
    def multiply(self, other: Tensor | _float) -> Tensor:
        """`input * other`, elementwise with broadcasting and type promotion."""
    def subtract(self, other: Tensor | _float, *, alpha: _float = 1) -> Tensor:
        """`input - alpha * other`, elementwise with broadcasting and type promotion."""
    def negative(self) -> Tensor:
        """`-input`."""
    def absolute(self) -> Tensor:
        """The absolute value; its derivative at 0 is 0."""
    def clip(self, min: Tensor | _float | None = None, max: Tensor | _float | None = None) -> Tensor:
        """`input` limited to [min, max]; either bound may be None, a number or a tensor. The bounds count as inside."""
    def greater(self, other: Tensor | _float) -> Tensor:
        """`input > other`, elementwise: a bool tensor."""
    def greater_equal(self, other: Tensor | _float) -> Tensor:
        """`input >= other`, elementwise: a bool tensor."""
    def less(self, other: Tensor | _float) -> Tensor:
        """`input < other`, elementwise: a bool tensor."""
    def less_equal(self, other: Tensor | _float) -> Tensor:
        """`input <= other`, elementwise: a bool tensor."""
    def not_equal(self, other: Tensor | _float) -> Tensor:
        """`input != other`, elementwise: a bool tensor."""
    def arcsin(self) -> Tensor:
        """The angle in radians, in [-pi/2, pi/2], whose sine is `input`."""
    def arccos(self) -> Tensor:
        """The angle in radians, in [0, pi], whose cosine is `input`."""
    def arctan(self) -> Tensor:
        """The angle in radians, in [-pi/2, pi/2], whose tangent is `input`."""
    def swapaxes(self, dim0: _int, dim1: _int) -> Tensor:
        """`input` with two dimensions swapped: a view."""
    def swapdims(self, dim0: _int, dim1: _int) -> Tensor:
        """`input` with two dimensions swapped: a view."""
    def divide(self, other: Tensor | _float, *, rounding_mode: str | None = None) -> Tensor:
        """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""
    def true_divide(self, other: Tensor | _float, *, rounding_mode: str | None = None) -> Tensor:
        """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""
    def div_(self, other: Tensor | _float, *, rounding_mode: str | None = None) -> Self:
        """`div` in place."""
    def nan_to_num(
        self, nan: _float | None = 0.0, posinf: _float | None = None, neginf: _float | None = None
    ) -> Tensor:
        """`input` with NaN and the infinities replaced: by 0, the dtype's largest number and its lowest, unless
        given."""
    def nan_to_num_(self, nan: _float | None = 0.0, posinf: _float | None = None, neginf: _float | None = None) -> Self:
        """`nan_to_num` in place."""
    def where(self, condition: Tensor, other: Tensor | _float) -> Tensor:
        """`self` where `condition` (a bool tensor) holds, else `other`."""
    @overload
    def max(self) -> Tensor:
        """`max(input)`: the extreme element. `max(input, dim, keepdim=False)`: (values, indices) along `dim`.
        `max(input, other)`: elementwise."""
    @overload
    def max(self, other: Tensor) -> Tensor:
        """`max(input)`: the extreme element. `max(input, dim, keepdim=False)`: (values, indices) along `dim`.
        `max(input, other)`: elementwise."""
    @overload
    def max(self, dim: _int, keepdim: _bool = False) -> max_result:
        """`max(input)`: the extreme element. `max(input, dim, keepdim=False)`: (values, indices) along `dim`.
        `max(input, other)`: elementwise."""
    @overload
    def min(self) -> Tensor:
        """`min(input)`: the extreme element. `min(input, dim, keepdim=False)`: (values, indices) along `dim`.
        `min(input, other)`: elementwise."""
    @overload
    def min(self, other: Tensor) -> Tensor:
        """`min(input)`: the extreme element. `min(input, dim, keepdim=False)`: (values, indices) along `dim`.
        `min(input, other)`: elementwise."""
    @overload
    def min(self, dim: _int, keepdim: _bool = False) -> min_result:
        """`min(input)`: the extreme element. `min(input, dim, keepdim=False)`: (values, indices) along `dim`.
        `min(input, other)`: elementwise."""
    def prod(self, dim: _int | None = None, keepdim: _bool = False, *, dtype: dtype | None = None) -> Tensor:
        """The product over `dim` (None: all); integers are multiplied as int64."""
    @overload
    def var(
        self, dim: _int | Sequence[_int] | None = None, *, correction: _float | None = 1, keepdim: _bool = False
    ) -> Tensor:
        """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of
        freedom."""
    @overload
    def var(self, dim: _int | Sequence[_int] | None = None, *, unbiased: _bool, keepdim: _bool = False) -> Tensor:
        """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of
        freedom."""
    @overload
    def var(self, dim: _int | Sequence[_int] | None, unbiased: _bool, keepdim: _bool = False) -> Tensor:
        """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of
        freedom."""
    @overload
    def std(
        self, dim: _int | Sequence[_int] | None = None, *, correction: _float | None = 1, keepdim: _bool = False
    ) -> Tensor:
        """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""
    @overload
    def std(self, dim: _int | Sequence[_int] | None = None, *, unbiased: _bool, keepdim: _bool = False) -> Tensor:
        """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""
    @overload
    def std(self, dim: _int | Sequence[_int] | None, unbiased: _bool, keepdim: _bool = False) -> Tensor:
        """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""
    def softmax(self, dim: _int, dtype: dtype | None = None) -> Tensor:
        """`exp(x) / sum(exp(x))` along `dim`."""
    def log_softmax(self, dim: _int, dtype: dtype | None = None) -> Tensor:
        """`x - log(sum(exp(x)))` along `dim`."""
    def allclose(self, other: Tensor, rtol: _float = 1e-05, atol: _float = 1e-08, equal_nan: _bool = False) -> _bool:
        """Whether `abs(input - other) <= atol + rtol * abs(other)` everywhere."""
    def equal(self, other: Tensor) -> _bool:
        """Whether both have the same shape and elements."""
    def addmm(self, mat1: Tensor, mat2: Tensor, *, beta: _float = 1, alpha: _float = 1) -> Tensor:
        """`beta * input + alpha * (mat1 @ mat2)`."""
    def addmm_(self, mat1: Tensor, mat2: Tensor, *, beta: _float = 1, alpha: _float = 1) -> Self:
        """`addmm` in place: the tensor is changed and returned."""
    def outer(self, vec2: Tensor) -> Tensor:
        """The products of all pairs of elements of two vectors: (n, m)."""
    def ger(self, vec2: Tensor) -> Tensor:
        """The products of all pairs of elements of two vectors: (n, m)."""
    def split(self, split_size: _int | Sequence[_int], dim: _int = 0) -> tuple[Tensor, ...]:
        """Views of consecutive pieces along `dim`: of one size (the last may be smaller), or of the given sizes."""
    def chunk(self, chunks: _int, dim: _int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` views of equal pieces along `dim` (the last may be smaller)."""
    def expand_as(self, other: Tensor) -> Tensor:
        """`self` expanded to the shape of `other`."""
    def view_as(self, other: Tensor) -> Tensor:
        """`self` viewed in the shape of `other`."""
    def reshape_as(self, other: Tensor) -> Tensor:
        """`self` in the shape of `other`."""
    def copy_(self, src: Tensor | _float, non_blocking: _bool = False) -> Self:
        """Overwrite the tensor with `src`, broadcast and converted to its dtype and device."""
    def fill_(self, value: Tensor | _float) -> Self:
        """Overwrite every element with one value."""
    def zero_(self) -> Self:
        """Overwrite every element with 0."""
    def short(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.int16."""
    def int(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.int32."""
    def long(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.int64."""
    def half(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.float16."""
    def float(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.float32."""
    def double(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.float64."""
    def bool(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.bool."""
    def bfloat16(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.bfloat16."""
    def byte(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.uint8."""
    def char(self, memory_format: memory_format = ...) -> Tensor:
        """The tensor as gradcore.int8."""
    def norm(
        self,
        p: _float | str | None = "fro",
        dim: _int | Sequence[_int] | None = None,
        keepdim: _bool = False,
        dtype: dtype | None = None,
    ) -> Tensor:
        """The p-norm over `dim` (None: all elements); `p` is a number, `inf`, "fro" (2), or "nuc" for matrices."""
    def bernoulli(self, p: _float | None = None, *, generator: Generator | None = None) -> Tensor:
        """1 with the probability that each element of `input` is, else 0; with `p`, that for all."""
    def multinomial(
        self, num_samples: _int, replacement: _bool = False, *, generator: Generator | None = None
    ) -> Tensor:
        """Draw `num_samples` indices with the probabilities, up to a factor, that the rows of `input` give: int64."""
    def uniform_(self, a: _float = 0.0, b: _float = 1.0, *, generator: Generator | None = None) -> Self:
        """Overwrite with uniform numbers in [a, b)."""
    def normal_(self, mean: _float = 0.0, std: _float = 1.0, *, generator: Generator | None = None) -> Self:
        """Overwrite with normal numbers of the given mean and standard deviation."""
    def log_normal_(self, mean: _float = 1.0, std: _float = 2.0, *, generator: Generator | None = None) -> Self:
        """Overwrite with numbers whose logarithm is normal, of the given mean and standard deviation."""
    def exponential_(self, lambd: _float = 1.0, *, generator: Generator | None = None) -> Self:
        """Overwrite with exponentially distributed numbers of rate `lambd`."""
    def geometric_(self, p: _float, *, generator: Generator | None = None) -> Self:
        """Overwrite with the number of trials up to the first success, each of probability `p`."""
    def cauchy_(self, median: _float = 0.0, sigma: _float = 1.0, *, generator: Generator | None = None) -> Self:
        """Overwrite with Cauchy distributed numbers."""
    @overload
    def random_(self, *, generator: Generator | None = None) -> Self:
        """`random_()`, `random_(to)`, `random_(from, to)`: overwrite with integers in [from, to), all equally
        likely."""
    @overload
    def random_(self, to: _int, *, generator: Generator | None = None) -> Self:
        """`random_()`, `random_(to)`, `random_(from, to)`: overwrite with integers in [from, to), all equally
        likely."""
    @overload
    def random_(self, from_: _int, to: _int | None, *, generator: Generator | None = None) -> Self:
        """`random_()`, `random_(to)`, `random_(from, to)`: overwrite with integers in [from, to), all equally
        likely."""
    def bernoulli_(self, p: Tensor | _float = 0.5, *, generator: Generator | None = None) -> Self:
        """Overwrite with 1 with probability `p`, a number or a tensor that broadcasts, else 0."""
    def cumsum_(self, dim: _int, *, dtype: dtype | None = None) -> Self:
        """`cumsum` in place."""
    @overload
    def median(self) -> Tensor:
        """`median(input)`: the median of all elements. `median(input, dim, keepdim=False)`: (values, indices) along
        `dim`."""
    @overload
    def median(self, dim: _int, keepdim: _bool = False) -> median_result:
        """`median(input)`: the median of all elements. `median(input, dim, keepdim=False)`: (values, indices) along
        `dim`."""
    def bincount(self, weights: Tensor | None = None, minlength: _int = 0) -> Tensor:
        """How often each of 0, 1, ... occurs in a vector of non-negative integers; with `weights`, the sum of those."""
    def index_put(self, indices: Sequence[Tensor], values: Tensor, accumulate: _bool = False) -> Tensor:
        """`input` with `values`, which broadcast, written (or, with `accumulate`, added) to `input[indices]`."""
    def index_put_(self, indices: Sequence[Tensor], values: Tensor, accumulate: _bool = False) -> Self:
        """`index_put` in place: the tensor is changed and returned."""
    def flatten(self, start_dim: _int = 0, end_dim: _int = -1) -> Tensor:
        """Dimensions `start_dim` to `end_dim` joined into one."""
    def unflatten(self, dim: _int, sizes: Sequence[_int]) -> Tensor:
        """Dimension `dim` as several of these `sizes`, of which one may be -1."""
    def unbind(self, dim: _int = 0) -> tuple[Tensor, ...]:
        """The slices of `input` along `dim`, without that dimension: views."""
    def diag(self, diagonal: _int = 0) -> Tensor:
        """Of a vector the matrix with it on a diagonal, of a matrix its diagonal: a copy."""
    def transpose_(self, dim0: _int, dim1: _int) -> Self:
        """Swap two dimensions of the tensor itself."""
    def t_(self) -> Self:
        """Transpose the tensor itself, of at most two dimensions."""
    def squeeze_(self, dim: _int | Sequence[_int] | None = None) -> Self:
        """Drop dimensions of size 1 (those among `dim`, if given) of the tensor itself."""
    def unsqueeze_(self, dim: _int) -> Self:
        """Insert a dimension of size 1 into the tensor itself."""
    def swapaxes_(self, dim0: _int, dim1: _int) -> Self:
        """Swap two dimensions of the tensor itself."""
    def swapdims_(self, dim0: _int, dim1: _int) -> Self:
        """Swap two dimensions of the tensor itself."""
    def pin_memory(self, device: Any = None) -> Tensor:
        """The tensor in page-locked host memory, from where it gets to a GPU faster; itself if it is there."""
    def is_pinned(self, device: Any = None) -> _bool:
        """Whether the tensor is in page-locked host memory."""
    def scatter(
        self,
        dim: _int,
        index: Tensor,
        src: Tensor | _float | None = None,
        *,
        value: _float | None = None,
        reduce: str | None = None,
    ) -> Tensor:
        """`input` with `src` at the places that `index` names along `dim`: `out[index[i, j], j] = src[i, j]` for `dim`
        0."""
    def index_fill(self, dim: _int, index: Tensor, value: Tensor | _float) -> Tensor:
        """`input` with one number in all elements of the slices along `dim` that `index`, a vector, names."""
    def scatter_(
        self,
        dim: _int,
        index: Tensor,
        src: Tensor | _float | None = None,
        *,
        value: _float | None = None,
        reduce: str | None = None,
    ) -> Self:
        """`scatter` in place: the tensor is changed and returned."""
    def index_fill_(self, dim: _int, index: Tensor, value: Tensor | _float) -> Self:
        """`index_fill` in place: the tensor is changed and returned."""
    def masked_select(self, mask: Tensor) -> Tensor:
        """The elements of `input` where the bool `mask` is True, as a vector; the two are broadcast to one shape."""
    def nonzero(self, *, as_tuple: _bool = False) -> Tensor | tuple[Tensor, ...]:
        """The positions of the elements that are not 0: int64 of shape (their number, input.ndim), in their order."""
    def argwhere(self) -> Tensor:
        """The positions of the elements that are not 0, as `nonzero` gives them."""
    def sort(self, dim: _int = -1, descending: _bool = False, *, stable: _bool = True) -> sort_result:
        """`(values, indices)`: the elements along `dim` in order, and where (int64) each came from."""
    def argsort(self, dim: _int = -1, descending: _bool = False, *, stable: _bool = True) -> Tensor:
        """Where (int64) each element of the sorted tensor came from: the indices of `sort`."""
    def msort(self) -> Tensor:
        """`input` sorted along its first dimension."""
    def topk(self, k: _int, dim: _int = -1, largest: _bool = True, sorted: _bool = True) -> topk_result:
        """`(values, indices)`: the `k` largest (or smallest) elements along `dim` in order, and their positions
        (int64)."""
    def unique(
        self, sorted: _bool = True, return_inverse: _bool = False, return_counts: _bool = False, dim: _int | None = None
    ) -> Any:
        """The different elements of `input`, or slices along `dim`, in ascending order, also without `sorted`."""
    def repeat(self, *repeats: _int | Sequence[_int]) -> Tensor:
        """The tensor laid `repeats` times behind itself along each dimension: a copy. There may be new ones in
        front."""
    def tile(self, dims: Sequence[_int]) -> Tensor:
        """`input` laid `dims` times behind itself along its last dimensions."""
    def repeat_interleave(
        self, repeats: Tensor | _int | None = None, dim: _int | None = None, *, output_size: _int | None = None
    ) -> Tensor:
        """Each slice of `input` along `dim` (None: each element, as a vector) `repeats` times, one behind the other."""
    def fliplr(self) -> Tensor:
        """`input`, of at least two dimensions, with its columns in reverse order: a copy."""
    def flipud(self) -> Tensor:
        """`input` with its rows in reverse order: a copy."""
    def new_zeros(
        self,
        *sizes: _int | Sequence[_int],
        size: Sequence[_int] | None = None,
        dtype: dtype | None = None,
        device: device | str | _int | None = None,
        requires_grad: _bool = False,
    ) -> Tensor:
        """`zeros` with this tensor's dtype and device."""
    def new_ones(
        self,
        *sizes: _int | Sequence[_int],
        size: Sequence[_int] | None = None,
        dtype: dtype | None = None,
        device: device | str | _int | None = None,
        requires_grad: _bool = False,
    ) -> Tensor:
        """`ones` with this tensor's dtype and device."""
    def new_empty(
        self,
        *sizes: _int | Sequence[_int],
        size: Sequence[_int] | None = None,
        dtype: dtype | None = None,
        device: device | str | _int | None = None,
        requires_grad: _bool = False,
    ) -> Tensor:
        """`empty` with this tensor's dtype and device."""
    def new_full(
        self,
        size: _int | Sequence[_int],
        fill_value: Tensor | _float,
        *,
        dtype: dtype | None = None,
        device: device | str | _int | None = None,
        requires_grad: _bool = False,
    ) -> Tensor:
        """`full` with this tensor's dtype and device."""
    def new_tensor(
        self,
        data: Any,
        *,
        dtype: dtype | None = None,
        device: device | str | _int | None = None,
        requires_grad: _bool = False,
    ) -> Tensor:
        """`tensor` with this tensor's dtype and device."""
    def __add__(self, other: Tensor | _float) -> Tensor: ...
    def __radd__(self, other: Tensor | _float) -> Tensor: ...
    def __iadd__(self, other: Tensor | _float) -> Self: ...
    def __sub__(self, other: Tensor | _float) -> Tensor: ...
    def __rsub__(self, other: Tensor | _float) -> Tensor: ...
    def __isub__(self, other: Tensor | _float) -> Self: ...
    def __mul__(self, other: Tensor | _float) -> Tensor: ...
    def __rmul__(self, other: Tensor | _float) -> Tensor: ...
    def __imul__(self, other: Tensor | _float) -> Self: ...
    def __truediv__(self, other: Tensor | _float) -> Tensor: ...
    def __rtruediv__(self, other: Tensor | _float) -> Tensor: ...
    def __itruediv__(self, other: Tensor | _float) -> Self: ...
    def __floordiv__(self, other: Tensor | _float) -> Tensor: ...
    def __rfloordiv__(self, other: Tensor | _float) -> Tensor: ...
    def __ifloordiv__(self, other: Tensor | _float) -> Self: ...
    def __mod__(self, other: Tensor | _float) -> Tensor: ...
    def __rmod__(self, other: Tensor | _float) -> Tensor: ...
    def __imod__(self, other: Tensor | _float) -> Self: ...
    def __pow__(self, other: Tensor | _float) -> Tensor: ...
    def __rpow__(self, other: Tensor | _float) -> Tensor: ...
    def __ipow__(self, other: Tensor | _float) -> Self: ...
    def __matmul__(self, other: Tensor) -> Tensor: ...
    def __rmatmul__(self, other: Tensor) -> Tensor: ...
    def __and__(self, other: Tensor | _float) -> Tensor: ...
    def __rand__(self, other: Tensor | _float) -> Tensor: ...
    def __iand__(self, other: Tensor | _float) -> Self: ...
    def __or__(self, other: Tensor | _float) -> Tensor: ...
    def __ror__(self, other: Tensor | _float) -> Tensor: ...
    def __ior__(self, other: Tensor | _float) -> Self: ...
    def __xor__(self, other: Tensor | _float) -> Tensor: ...
    def __rxor__(self, other: Tensor | _float) -> Tensor: ...
    def __ixor__(self, other: Tensor | _float) -> Self: ...
    def __eq__(self, other: object) -> Tensor: ...  # type: ignore[override]
    def __ne__(self, other: object) -> Tensor: ...  # type: ignore[override]
    def __lt__(self, other: Tensor | _float) -> Tensor: ...
    def __le__(self, other: Tensor | _float) -> Tensor: ...
    def __gt__(self, other: Tensor | _float) -> Tensor: ...
    def __ge__(self, other: Tensor | _float) -> Tensor: ...
    def __rdiv__(self, other: Tensor | _float) -> Tensor: ...
    def __neg__(self) -> Tensor: ...
    def __abs__(self) -> Tensor: ...
    def __invert__(self) -> Tensor: ...
    def __getitem__(self, key: Any) -> Tensor: ...
    def __setitem__(self, key: Any, value: Any) -> None: ...
