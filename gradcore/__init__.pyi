"""The names of `gradcore`, for type checkers and editors. Written by scripts/generate_stubs.py."""

from builtins import bool as _bool
from builtins import float as _float
from builtins import int as _int
from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from . import amp as amp
from . import autograd as autograd
from . import cuda as cuda
from . import func as func
from . import linalg as linalg
from . import nn as nn
from . import optim as optim
from . import serialization as serialization
from . import utils as utils
from . import viz as viz
from .amp.autocast_mode import autocast as autocast
from .amp.autocast_mode import clear_autocast_cache as clear_autocast_cache
from .amp.autocast_mode import get_autocast_dtype as get_autocast_dtype
from .amp.autocast_mode import is_autocast_cache_enabled as is_autocast_cache_enabled
from .amp.autocast_mode import is_autocast_enabled as is_autocast_enabled
from .amp.autocast_mode import set_autocast_cache_enabled as set_autocast_cache_enabled
from .amp.autocast_mode import set_autocast_dtype as set_autocast_dtype
from .amp.autocast_mode import set_autocast_enabled as set_autocast_enabled
from .autograd import enable_grad as enable_grad
from .autograd import inference_mode as inference_mode
from .autograd import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
from .autograd import is_anomaly_enabled as is_anomaly_enabled
from .autograd import is_grad_enabled as is_grad_enabled
from .autograd import is_inference_mode_enabled as is_inference_mode_enabled
from .autograd import no_grad as no_grad
from .autograd import set_grad_enabled as set_grad_enabled
from .backends.cpu.threads import get_num_threads as get_num_threads
from .backends.cpu.threads import set_num_threads as set_num_threads
from .backends.determinism import are_deterministic_algorithms_enabled as are_deterministic_algorithms_enabled
from .backends.determinism import use_deterministic_algorithms as use_deterministic_algorithms
from .backends.precision import get_float32_matmul_precision as get_float32_matmul_precision
from .backends.precision import set_float32_matmul_precision as set_float32_matmul_precision
from .cuda import OutOfMemoryError as OutOfMemoryError
from .devices import device as device
from .dtypes import bfloat16 as bfloat16
from .dtypes import dtype as dtype
from .dtypes import finfo as finfo
from .dtypes import float16 as float16
from .dtypes import float32 as float32
from .dtypes import float64 as float64
from .dtypes import get_default_dtype as get_default_dtype
from .dtypes import iinfo as iinfo
from .dtypes import int8 as int8
from .dtypes import int16 as int16
from .dtypes import int32 as int32
from .dtypes import int64 as int64
from .dtypes import promote_types as promote_types
from .dtypes import set_default_dtype as set_default_dtype
from .dtypes import uint8 as uint8
from .explanation import explain as explain
from .formats import channels_last as channels_last
from .formats import channels_last_3d as channels_last_3d
from .formats import contiguous_format as contiguous_format
from .formats import layout as layout
from .formats import memory_format as memory_format
from .formats import preserve_format as preserve_format
from .formats import strided as strided
from .func import vmap as vmap
from .serialization import load as load
from .serialization import save as save
from .tensor import Generator as Generator
from .tensor import Size as Size
from .tensor import Tensor as Tensor
from .tensor import default_generator as default_generator
from .tensor.custom import elementwise as elementwise
from .tensor.custom import reduction as reduction
from .tensor.functions import max_result, median_result, min_result
from .tensor.selecting import sort_result, topk_result

__version__: str
bool: dtype
double: dtype
e: _float
float: dtype
half: dtype
inf: _float
int: dtype
long: dtype
nan: _float
pi: _float
short: dtype

def arange(
    start: _float | None = None,
    end: _float | None = None,
    step: _float = 1,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """`start`, `start + step`, ... below `end`; `arange(end)` starts at 0."""

def as_tensor(data: Any, dtype: dtype | None = None, device: device | str | _int | None = None) -> Tensor:
    """`data` as a tensor, sharing memory where it can: tensors and arrays of the right dtype and device."""

def asarray(
    obj: Any,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    copy: _bool | None = None,
    requires_grad: _bool | None = None,
) -> Tensor:
    """`obj` as a tensor: `as_tensor` with a say in copying."""

def empty(
    *sizes: _int | Sequence[_int],
    size: Sequence[_int] | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor whose values are not set."""

def empty_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, whose values are not set."""

def eye(
    n: _int,
    m: _int | None = None,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A matrix with ones on its diagonal."""

def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """A CPU tensor that shares memory with a NumPy array."""

def full(
    size: _int | Sequence[_int],
    fill_value: Tensor | _float,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor filled with one value; its dtype is that of the value unless given."""

def full_like(
    input: Tensor,
    fill_value: _float,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, filled with one value."""

def linspace(
    start: Tensor | _float,
    end: Tensor | _float,
    steps: _int,
    *,
    out: Tensor | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """`steps` numbers from `start` to `end`, both included, evenly spaced; of an integer dtype, rounded towards 0."""

def ones(
    *sizes: _int | Sequence[_int],
    size: Sequence[_int] | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor filled with 1."""

def ones_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, filled with 1."""

def tensor(
    data: Any, *, dtype: dtype | None = None, device: device | str | _int | None = None, requires_grad: _bool = False
) -> Tensor:
    """A tensor with a copy of `data`: a number, nested sequences, a NumPy array."""

def zeros(
    *sizes: _int | Sequence[_int],
    size: Sequence[_int] | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor filled with 0."""

def zeros_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """A tensor like `input` in shape, dtype and place, filled with 0."""

def from_dlpack(ext_tensor: Any, *, device: device | str | _int | None = None, copy: _bool | None = None) -> Tensor:
    """A tensor in the memory of another library's array, or of a DLPack capsule."""

def get_rng_state() -> Tensor:
    """The state of the default generator."""

def initial_seed() -> _int:
    """The seed of the default generator."""

def manual_seed(seed: _int) -> Generator:
    """Seed the default generator, which serves all devices."""

def rand(
    *sizes: _int | Sequence[_int],
    size: Sequence[_int] | None = None,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """Uniform numbers in [0, 1)."""

def rand_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """`rand` in the shape, dtype and place of `input`."""

@overload
def randint(
    high: _int,
    size: Sequence[_int],
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """Integers in [low, high), all equally likely: `randint(high, size)` or `randint(low, high, size)`."""

@overload
def randint(
    low: _int,
    high: _int,
    size: Sequence[_int],
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """Integers in [low, high), all equally likely: `randint(high, size)` or `randint(low, high, size)`."""

def randint_like(
    input: Tensor,
    low: _int,
    high: _int | None = None,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
) -> Tensor:
    """`randint` in the shape, dtype and place of `input`."""

def randn(
    *sizes: _int | Sequence[_int],
    size: Sequence[_int] | None = None,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """Numbers from the standard normal distribution."""

def randn_like(
    input: Tensor,
    *,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
) -> Tensor:
    """`randn` in the shape, dtype and place of `input`."""

def randperm(
    n: _int,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
) -> Tensor:
    """The numbers 0 to n-1 in random order."""

def seed() -> _int:
    """Seed the default generator at random; returns the seed."""

def set_rng_state(state: Tensor) -> None:
    """Restore the state of the default generator."""

def normal(
    mean: Tensor | _float = 0.0,
    std: Tensor | _float = 1.0,
    size: Sequence[_int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: dtype | None = None,
    device: device | str | _int | None = None,
    requires_grad: _bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Normal numbers of the given means and standard deviations, tensors (which broadcast) or numbers."""

def get_printoptions() -> dict[str, Any]:
    """The current options, as keyword arguments for `set_printoptions`."""

def set_printoptions(
    precision: _int | None = None,
    threshold: _float | None = None,
    edgeitems: _int | None = None,
    linewidth: _int | None = None,
    profile: str | None = None,
    sci_mode: _bool | None = None,
) -> None:
    """Set how tensors are printed; what is not given stays as it is, except `sci_mode`."""

@overload
def reshape(input: Tensor, shape: Sequence[_int]) -> Tensor:
    """The same elements in another shape: a view where strides allow it, else a copy. One size may be -1."""

@overload
def reshape(input: Tensor, *shape: _int) -> Tensor:
    """The same elements in another shape: a view where strides allow it, else a copy. One size may be -1."""

@overload
def view(input: Tensor, shape: Sequence[_int]) -> Tensor:
    """A view of the same elements in another shape; RuntimeError if that would need a copy."""

@overload
def view(input: Tensor, *shape: _int) -> Tensor:
    """A view of the same elements in another shape; RuntimeError if that would need a copy."""

def transpose(input: Tensor, dim0: _int, dim1: _int) -> Tensor:
    """`input` with two dimensions swapped: a view."""

def t(input: Tensor) -> Tensor:
    """The transpose of a tensor of at most two dimensions: a view."""

@overload
def permute(input: Tensor, dims: Sequence[_int]) -> Tensor:
    """`input` with its dimensions in the order `dims`: a view."""

@overload
def permute(input: Tensor, *dims: _int) -> Tensor:
    """`input` with its dimensions in the order `dims`: a view."""

def squeeze(input: Tensor, dim: _int | Sequence[_int] | None = None) -> Tensor:
    """`input` without its dimensions of size 1 (those among `dim`, if given): a view."""

def unsqueeze(input: Tensor, dim: _int) -> Tensor:
    """`input` with a dimension of size 1 inserted at `dim`: a view."""

@overload
def expand(input: Tensor, size: Sequence[_int]) -> Tensor:
    """`input` with dimensions of size 1 repeated to `size` (-1: unchanged) without copying: a view."""

@overload
def expand(input: Tensor, *size: _int) -> Tensor:
    """`input` with dimensions of size 1 repeated to `size` (-1: unchanged) without copying: a view."""

def contiguous(input: Tensor, memory_format: memory_format = ...) -> Tensor:
    """`input` itself if its elements lie in memory in the order that is asked for, else a copy where they do."""

def clone(input: Tensor, *, memory_format: memory_format = ...) -> Tensor:
    """A copy, through which gradients flow."""

def cat(tensors: Sequence[Tensor], dim: _int = 0, *, out: Tensor | None = None) -> Tensor:
    """The tensors joined along an existing dimension; one-dimensional empty ones are skipped."""

def narrow(input: Tensor, dim: _int, start: _int, length: _int) -> Tensor:
    """The elements `start` to `start + length - 1` along `dim`: a view."""

def stack(tensors: Sequence[Tensor], dim: _int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape joined along a new dimension."""

def add(input: Tensor, other: Tensor | _float, *, alpha: _float = 1, out: Tensor | None = None) -> Tensor:
    """`input + alpha * other`, elementwise with broadcasting and type promotion."""

def sub(input: Tensor, other: Tensor | _float, *, alpha: _float = 1, out: Tensor | None = None) -> Tensor:
    """`input - alpha * other`, elementwise with broadcasting and type promotion."""

def mul(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input * other`, elementwise with broadcasting and type promotion."""

def div(
    input: Tensor, other: Tensor | _float, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""

def floor_divide(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input / other` rounded down, elementwise."""

def remainder(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Python's `input % other`: the result has the sign of the divisor."""

def pow(input: Tensor, exponent: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input ** exponent`, elementwise."""

def neg(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`-input`."""

def abs(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The absolute value; its derivative at 0 is 0."""

def sign(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-1, 0 or 1; of a bool the bool itself."""

def square(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input * input`; of bools as int64."""

def reciprocal(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`1 / input`."""

def floor(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The largest integer not above `input`; its derivative is 0."""

def ceil(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The smallest integer not below `input`; its derivative is 0."""

def round(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The nearest integer, halves to even; its derivative is 0."""

def trunc(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input` without its fraction; its derivative is 0."""

def maximum(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """The larger of the two, NaN if either is NaN; a tie splits the gradient evenly."""

def minimum(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """The smaller of the two, NaN if either is NaN; a tie splits the gradient evenly."""

def clamp(
    input: Tensor, min: Tensor | _float | None = None, max: Tensor | _float | None = None, *, out: Tensor | None = None
) -> Tensor:
    """`input` limited to [min, max]; either bound may be None, a number or a tensor. The bounds count as inside."""

def addcdiv(
    input: Tensor, tensor1: Tensor | _float, tensor2: Tensor | _float, *, value: _float = 1, out: Tensor | None = None
) -> Tensor:
    """`input + value * tensor1 / tensor2`, elementwise with broadcasting."""

def addcmul(
    input: Tensor, tensor1: Tensor | _float, tensor2: Tensor | _float, *, value: _float = 1, out: Tensor | None = None
) -> Tensor:
    """`input + value * tensor1 * tensor2`, elementwise with broadcasting and type promotion."""

def lerp(input: Tensor, end: Tensor | _float, weight: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input + weight * (end - input)`: `input` where `weight`, a tensor or a number, is 0, and `end` where it is 1."""

def clamp_min(input: Tensor, min: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """The larger of `input` and `min`, a tensor or a number; where they are equal, `input` gets the gradient."""

def clamp_max(input: Tensor, max: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """The smaller of `input` and `max`, a tensor or a number; where they are equal, `input` gets the gradient."""

def eq(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input == other`, elementwise: a bool tensor."""

def ne(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input != other`, elementwise: a bool tensor."""

def lt(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input < other`, elementwise: a bool tensor."""

def le(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input <= other`, elementwise: a bool tensor."""

def gt(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input > other`, elementwise: a bool tensor."""

def ge(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input >= other`, elementwise: a bool tensor."""

def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN."""

def isinf(input: Tensor) -> Tensor:
    """Whether each element is positive or negative infinity."""

def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""

def logical_and(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Whether both are nonzero."""

def logical_or(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Whether either is nonzero."""

def logical_xor(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Whether exactly one is nonzero."""

def logical_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Whether it is zero."""

def bitwise_and(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Bitwise and of integers, logical and of bools."""

def bitwise_or(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Bitwise or of integers, logical or of bools."""

def bitwise_xor(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """Bitwise exclusive or of integers, logical exclusive or of bools."""

def bitwise_not(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """Bitwise complement of integers, logical not of bools."""

def relu(input: Tensor) -> Tensor:
    """`max(input, 0)`; NaN stays NaN, the derivative at 0 is 0."""

def hardshrink(input: Tensor, *, lambd: _float = 0.5, out: Tensor | None = None) -> Tensor:
    """`input` outside [-lambd, lambd], else 0."""

def matmul(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The matrix product, with broadcast batch dimensions; a vector is a row on the left, a column on the right."""

def mm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The product of two matrices (n, k) and (k, m): (n, m)."""

def bmm(input: Tensor, mat2: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The products of a batch of matrices (b, n, k) and (b, k, m): (b, n, m)."""

def dot(input: Tensor, tensor: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inner product of two vectors of equal length."""

def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`input @ weight.T + bias` for input (..., in), weight (out, in) and bias (out,): (..., out)."""

def gather(input: Tensor, dim: _int, index: Tensor, *, sparse_grad: _bool = False, out: Tensor | None = None) -> Tensor:
    """The elements of `input` that `index` names along `dim`: `out[i, j] = input[index[i, j], j]` for `dim` 0."""

def sum(
    input: Tensor,
    dim: _int | Sequence[_int] | None = None,
    keepdim: _bool = False,
    *,
    dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The sum over `dim` (an int, several, or None for all); integers and bools are summed as int64."""

def mean(
    input: Tensor,
    dim: _int | Sequence[_int] | None = None,
    keepdim: _bool = False,
    *,
    dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The mean over `dim`."""

def amax(
    input: Tensor, dim: _int | Sequence[_int] | None = (), keepdim: _bool = False, *, out: Tensor | None = None
) -> Tensor:
    """The largest element over `dim`; equal ones share the gradient."""

def amin(
    input: Tensor, dim: _int | Sequence[_int] | None = (), keepdim: _bool = False, *, out: Tensor | None = None
) -> Tensor:
    """The smallest element over `dim`; equal ones share the gradient."""

def argmax(input: Tensor, dim: _int | None = None, keepdim: _bool = False, *, out: Tensor | None = None) -> Tensor:
    """The position of the first largest element, along `dim` or (None) in the flattened tensor."""

def argmin(input: Tensor, dim: _int | None = None, keepdim: _bool = False, *, out: Tensor | None = None) -> Tensor:
    """The position of the first smallest element, along `dim` or (None) in the flattened tensor."""

def any(
    input: Tensor, dim: _int | Sequence[_int] | None = None, keepdim: _bool = False, *, out: Tensor | None = None
) -> Tensor:
    """Whether any element is nonzero."""

def all(
    input: Tensor, dim: _int | Sequence[_int] | None = None, keepdim: _bool = False, *, out: Tensor | None = None
) -> Tensor:
    """Whether every element is nonzero."""

def logsumexp(
    input: Tensor, dim: _int | Sequence[_int] | None, keepdim: _bool = False, *, out: Tensor | None = None
) -> Tensor:
    """`log(sum(exp(input)))` over `dim` (an int or several), with the maximum subtracted first; of integers a float."""

def exp(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The exponential."""

def expm1(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`exp(input) - 1`, accurate near 0."""

def log(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The natural logarithm."""

def log1p(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`log(1 + input)`, accurate near 0."""

def log2(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 2."""

def log10(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logarithm to base 10."""

def sqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The square root; its derivative at 0 is infinite."""

def rsqrt(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`1 / sqrt(input)`."""

def sin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The sine of an angle in radians."""

def cos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The cosine of an angle in radians."""

def tan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The tangent of an angle in radians."""

def asin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in radians, in [-pi/2, pi/2], whose sine is `input`."""

def acos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in radians, in [0, pi], whose cosine is `input`."""

def atan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in radians, in [-pi/2, pi/2], whose tangent is `input`."""

def sinh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic sine."""

def cosh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic cosine."""

def tanh(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The hyperbolic tangent."""

def sigmoid(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The logistic function `1 / (1 + exp(-input))`."""

def erf(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The error function `2 / sqrt(pi) * integral from 0 to input of exp(-t**2)`."""

def masked_fill(input: Tensor, mask: Tensor, value: Tensor | _float) -> Tensor:
    """`input` with `value`, a number or a tensor without dimensions, where `mask`, bool and broadcast, is True."""

def tril(input: Tensor, diagonal: _int = 0, *, out: Tensor | None = None) -> Tensor:
    """The elements of the matrices in the last two dimensions on and below a diagonal, 0 elsewhere; `diagonal` counts
    from the main one to the right."""

def triu(input: Tensor, diagonal: _int = 0, *, out: Tensor | None = None) -> Tensor:
    """The elements of the matrices in the last two dimensions on and above a diagonal, 0 elsewhere; `diagonal` counts
    from the main one to the right."""

@overload
def flip(input: Tensor, dims: Sequence[_int]) -> Tensor:
    """`input` with the order of its elements along the dimensions `dims` reversed: a copy."""

@overload
def flip(input: Tensor, *dims: _int) -> Tensor:
    """`input` with the order of its elements along the dimensions `dims` reversed: a copy."""

def roll(input: Tensor, shifts: _int | Sequence[_int], dims: _int | Sequence[_int] | None = None) -> Tensor:
    """`input` with its elements moved by `shifts` along `dims`, what is moved beyond the end coming in at the start."""

def diagonal(input: Tensor, offset: _int = 0, dim1: _int = 0, dim2: _int = 1) -> Tensor:
    """The diagonal of the matrices in dimensions `dim1` and `dim2`, as the last dimension: a view."""

def cumsum(input: Tensor, dim: _int, *, dtype: dtype | None = None, out: Tensor | None = None) -> Tensor:
    """The sums of the elements up to each one along `dim`; integers and bools are summed as int64."""

def scatter_add(input: Tensor, dim: _int, index: Tensor, src: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input` with `src` added at the places that `index` names along `dim`: `out[index[i, j], j] += src[i, j]` for
    0."""

def scatter_reduce(
    input: Tensor,
    dim: _int,
    index: Tensor,
    src: Tensor,
    reduce: str,
    *,
    include_self: _bool = True,
    out: Tensor | None = None,
) -> Tensor:
    """`input` with what `src` puts on each place that `index` names along `dim` reduced: sum, prod, mean, amax or
    amin."""

def index_select(input: Tensor, dim: _int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices of `input` along `dim` that `index`, a vector of int64 or int32, names: a copy."""

def index_add(
    input: Tensor, dim: _int, index: Tensor, source: Tensor, *, alpha: _float = 1, out: Tensor | None = None
) -> Tensor:
    """`input` with `alpha` times the slices of `source` along `dim` added at the places `index`, in a fixed order."""

def index_copy(input: Tensor, dim: _int, index: Tensor, source: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`input` with the slices of `source` along `dim` at the places `index`. Shapes and errors are `index_add`'s."""

def multiply(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input * other`, elementwise with broadcasting and type promotion."""

def subtract(input: Tensor, other: Tensor | _float, *, alpha: _float = 1, out: Tensor | None = None) -> Tensor:
    """`input - alpha * other`, elementwise with broadcasting and type promotion."""

def negative(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`-input`."""

def absolute(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The absolute value; its derivative at 0 is 0."""

def clip(
    input: Tensor, min: Tensor | _float | None = None, max: Tensor | _float | None = None, *, out: Tensor | None = None
) -> Tensor:
    """`input` limited to [min, max]; either bound may be None, a number or a tensor. The bounds count as inside."""

def greater(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input > other`, elementwise: a bool tensor."""

def greater_equal(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input >= other`, elementwise: a bool tensor."""

def less(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input < other`, elementwise: a bool tensor."""

def less_equal(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input <= other`, elementwise: a bool tensor."""

def not_equal(input: Tensor, other: Tensor | _float, *, out: Tensor | None = None) -> Tensor:
    """`input != other`, elementwise: a bool tensor."""

def arcsin(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in radians, in [-pi/2, pi/2], whose sine is `input`."""

def arccos(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in radians, in [0, pi], whose cosine is `input`."""

def arctan(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The angle in radians, in [-pi/2, pi/2], whose tangent is `input`."""

def swapaxes(input: Tensor, dim0: _int, dim1: _int) -> Tensor:
    """`input` with two dimensions swapped: a view."""

def swapdims(input: Tensor, dim0: _int, dim1: _int) -> Tensor:
    """`input` with two dimensions swapped: a view."""

def concat(tensors: Sequence[Tensor], dim: _int = 0, *, out: Tensor | None = None) -> Tensor:
    """The tensors joined along an existing dimension; one-dimensional empty ones are skipped."""

def concatenate(tensors: Sequence[Tensor], dim: _int = 0, *, out: Tensor | None = None) -> Tensor:
    """The tensors joined along an existing dimension; one-dimensional empty ones are skipped."""

def divide(
    input: Tensor, other: Tensor | _float, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""

def true_divide(
    input: Tensor, other: Tensor | _float, *, rounding_mode: str | None = None, out: Tensor | None = None
) -> Tensor:
    """`input / other`; `rounding_mode` "floor" rounds down, "trunc" towards zero, keeping integers integers."""

def nan_to_num(
    input: Tensor,
    nan: _float | None = 0.0,
    posinf: _float | None = None,
    neginf: _float | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """`input` with NaN and the infinities replaced: by 0, the dtype's largest number and its lowest, unless given."""

def where(condition: Tensor, input: Tensor | _float | None = None, other: Tensor | _float | None = None) -> Tensor:
    """`input` where `condition` (a bool tensor) holds, else `other`."""

@overload
def max(input: Tensor) -> Tensor:
    """`max(input)`: the extreme element. `max(input, dim, keepdim=False)`: (values, indices) along `dim`. `max(input,
    other)`: elementwise."""

@overload
def max(input: Tensor, other: Tensor) -> Tensor:
    """`max(input)`: the extreme element. `max(input, dim, keepdim=False)`: (values, indices) along `dim`. `max(input,
    other)`: elementwise."""

@overload
def max(input: Tensor, dim: _int, keepdim: _bool = False) -> max_result:
    """`max(input)`: the extreme element. `max(input, dim, keepdim=False)`: (values, indices) along `dim`. `max(input,
    other)`: elementwise."""

@overload
def min(input: Tensor) -> Tensor:
    """`min(input)`: the extreme element. `min(input, dim, keepdim=False)`: (values, indices) along `dim`. `min(input,
    other)`: elementwise."""

@overload
def min(input: Tensor, other: Tensor) -> Tensor:
    """`min(input)`: the extreme element. `min(input, dim, keepdim=False)`: (values, indices) along `dim`. `min(input,
    other)`: elementwise."""

@overload
def min(input: Tensor, dim: _int, keepdim: _bool = False) -> min_result:
    """`min(input)`: the extreme element. `min(input, dim, keepdim=False)`: (values, indices) along `dim`. `min(input,
    other)`: elementwise."""

def prod(input: Tensor, dim: _int | None = None, keepdim: _bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The product over `dim` (None: all); integers are multiplied as int64."""

@overload
def var(
    input: Tensor, dim: _int | Sequence[_int] | None = None, *, correction: _float | None = 1, keepdim: _bool = False
) -> Tensor:
    """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of freedom."""

@overload
def var(input: Tensor, dim: _int | Sequence[_int] | None = None, *, unbiased: _bool, keepdim: _bool = False) -> Tensor:
    """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of freedom."""

@overload
def var(input: Tensor, dim: _int | Sequence[_int] | None, unbiased: _bool, keepdim: _bool = False) -> Tensor:
    """`var(input, dim=None, *, correction=1, keepdim=False)`: the variance over n - correction degrees of freedom."""

@overload
def std(
    input: Tensor, dim: _int | Sequence[_int] | None = None, *, correction: _float | None = 1, keepdim: _bool = False
) -> Tensor:
    """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""

@overload
def std(input: Tensor, dim: _int | Sequence[_int] | None = None, *, unbiased: _bool, keepdim: _bool = False) -> Tensor:
    """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""

@overload
def std(input: Tensor, dim: _int | Sequence[_int] | None, unbiased: _bool, keepdim: _bool = False) -> Tensor:
    """`std(input, dim=None, *, correction=1, keepdim=False)`: the square root of the variance."""

def softmax(input: Tensor, dim: _int, dtype: dtype | None = None) -> Tensor:
    """`exp(x) / sum(exp(x))` along `dim`."""

def log_softmax(input: Tensor, dim: _int, dtype: dtype | None = None) -> Tensor:
    """`x - log(sum(exp(x)))` along `dim`."""

def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[_int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: _float = 1e-05,
) -> Tensor:
    """`(x - mean) / sqrt(variance + eps) * weight + bias`, over the last dimensions (Ba et al., arXiv 1607.06450)."""

def rms_norm(
    input: Tensor, normalized_shape: Sequence[_int], weight: Tensor | None = None, eps: _float | None = None
) -> Tensor:
    """`x / sqrt(mean(x^2) + eps) * weight` over the last dimensions (Zhang and Sennrich, NeurIPS 2019)."""

def allclose(
    input: Tensor, other: Tensor, rtol: _float = 1e-05, atol: _float = 1e-08, equal_nan: _bool = False
) -> _bool:
    """Whether `abs(input - other) <= atol + rtol * abs(other)` everywhere."""

def equal(input: Tensor, other: Tensor) -> _bool:
    """Whether both have the same shape and elements."""

def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: _float = 1, alpha: _float = 1) -> Tensor:
    """`beta * input + alpha * (mat1 @ mat2)`."""

def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of all pairs of elements of two vectors: (n, m)."""

def ger(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of all pairs of elements of two vectors: (n, m)."""

def split(input: Tensor, split_size_or_sections: _int | Sequence[_int], dim: _int = 0) -> tuple[Tensor, ...]:
    """Views of consecutive pieces along `dim`: of one size (the last may be smaller), or of the given sizes."""

def chunk(input: Tensor, chunks: _int, dim: _int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views of equal pieces along `dim` (the last may be smaller)."""

def numel(input: Tensor) -> _int:
    """The number of elements."""

def fill(input: Tensor, value: Tensor | _float) -> Tensor:
    """A tensor like `input` with one value for every element."""

def is_tensor(obj: Any) -> _bool:
    """Whether `obj` is a Tensor."""

def is_floating_point(input: Tensor) -> _bool:
    """Whether the dtype is a floating point one."""

def result_type(tensor1: Tensor | _float, tensor2: Tensor | _float) -> dtype:
    """The dtype that arithmetic on the two (tensors or numbers) gives."""

def norm(
    input: Tensor,
    p: _float | str | None = "fro",
    dim: _int | Sequence[_int] | None = None,
    keepdim: _bool = False,
    dtype: dtype | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """The p-norm over `dim` (None: all elements); `p` is a number, `inf`, "fro" (2), or "nuc" for matrices."""

def bernoulli(
    input: Tensor, p: _float | None = None, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """1 with the probability that each element of `input` is, else 0; with `p`, that for all."""

def multinomial(
    input: Tensor,
    num_samples: _int,
    replacement: _bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw `num_samples` indices with the probabilities, up to a factor, that the rows of `input` give: int64."""

@overload
def median(input: Tensor) -> Tensor:
    """`median(input)`: the median of all elements. `median(input, dim, keepdim=False)`: (values, indices) along
    `dim`."""

@overload
def median(input: Tensor, dim: _int, keepdim: _bool = False) -> median_result:
    """`median(input)`: the median of all elements. `median(input, dim, keepdim=False)`: (values, indices) along
    `dim`."""

def bincount(input: Tensor, weights: Tensor | None = None, minlength: _int = 0) -> Tensor:
    """How often each of 0, 1, ... occurs in a vector of non-negative integers; with `weights`, the sum of those."""

def index_put(input: Tensor, indices: Sequence[Tensor], values: Tensor, accumulate: _bool = False) -> Tensor:
    """`input` with `values`, which broadcast, written (or, with `accumulate`, added) to `input[indices]`."""

def einsum(equation: str, *operands: Tensor | Sequence[Tensor]) -> Tensor:
    """The sum of products that an equation describes: `"bij,bjk->bik"` multiplies batches of matrices."""

def atleast_1d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, those without dimensions as vectors of one element; a tuple unless it is one tensor."""

def atleast_2d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, vectors as matrices of one row; a tuple unless it is one tensor."""

def atleast_3d(*tensors: Tensor | Sequence[Tensor]) -> Any:
    """The tensors, matrices (n, m) as (n, m, 1); a tuple unless it is one tensor."""

def flatten(input: Tensor, start_dim: _int = 0, end_dim: _int = -1) -> Tensor:
    """Dimensions `start_dim` to `end_dim` joined into one."""

def unflatten(input: Tensor, dim: _int, sizes: Sequence[_int]) -> Tensor:
    """Dimension `dim` as several of these `sizes`, of which one may be -1."""

def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors as matrices of one row, joined along the first dimension."""

def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors joined along the second dimension; vectors along their only one."""

def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors (n) as (1, n, 1) and matrices (n, m) as (n, m, 1), joined along the third dimension."""

def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors as columns, joined along the second dimension."""

def row_stack(tensors: Sequence[Tensor]) -> Tensor:
    """The tensors, vectors as matrices of one row, joined along the first dimension."""

def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """The coordinates of a grid: of vectors of sizes n, m, ... one (n, m, ...) view for each of them."""

def unbind(input: Tensor, dim: _int = 0) -> tuple[Tensor, ...]:
    """The slices of `input` along `dim`, without that dimension: views."""

def diag(input: Tensor, diagonal: _int = 0) -> Tensor:
    """Of a vector the matrix with it on a diagonal, of a matrix its diagonal: a copy."""

def pixel_shuffle(input: Tensor, upscale_factor: _int) -> Tensor:
    """(..., c * r * r, h, w) to (..., c, h * r, w * r), r being `upscale_factor` (Shi et al., CVPR 2016)."""

def pixel_unshuffle(input: Tensor, downscale_factor: _int) -> Tensor:
    """(..., c, h * r, w * r) to (..., c * r * r, h, w), r being `downscale_factor`: what undoes `pixel_shuffle`."""

def scatter(
    input: Tensor,
    dim: _int,
    index: Tensor,
    src: Tensor | _float | None = None,
    *,
    value: _float | None = None,
    reduce: str | None = None,
) -> Tensor:
    """`input` with `src` at the places that `index` names along `dim`: `out[index[i, j], j] = src[i, j]` for `dim`
    0."""

def index_fill(input: Tensor, dim: _int, index: Tensor, value: Tensor | _float) -> Tensor:
    """`input` with one number in all elements of the slices along `dim` that `index`, a vector, names."""

def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements of `input` where the bool `mask` is True, as a vector; the two are broadcast to one shape."""

def nonzero(input: Tensor, *, as_tuple: _bool = False) -> Tensor | tuple[Tensor, ...]:
    """The positions of the elements that are not 0: int64 of shape (their number, input.ndim), in their order."""

def argwhere(input: Tensor) -> Tensor:
    """The positions of the elements that are not 0, as `nonzero` gives them."""

def sort(input: Tensor, dim: _int = -1, descending: _bool = False, *, stable: _bool = True) -> sort_result:
    """`(values, indices)`: the elements along `dim` in order, and where (int64) each came from."""

def argsort(input: Tensor, dim: _int = -1, descending: _bool = False, *, stable: _bool = True) -> Tensor:
    """Where (int64) each element of the sorted tensor came from: the indices of `sort`."""

def msort(input: Tensor) -> Tensor:
    """`input` sorted along its first dimension."""

def topk(input: Tensor, k: _int, dim: _int = -1, largest: _bool = True, sorted: _bool = True) -> topk_result:
    """`(values, indices)`: the `k` largest (or smallest) elements along `dim` in order, and their positions (int64)."""

def unique(
    input: Tensor,
    sorted: _bool = True,
    return_inverse: _bool = False,
    return_counts: _bool = False,
    dim: _int | None = None,
) -> Any:
    """The different elements of `input`, or slices along `dim`, in ascending order, also without `sorted`."""

def tile(input: Tensor, dims: Sequence[_int]) -> Tensor:
    """`input` laid `dims` times behind itself along its last dimensions."""

def repeat_interleave(
    input: Tensor, repeats: Tensor | _int | None = None, dim: _int | None = None, *, output_size: _int | None = None
) -> Tensor:
    """Each slice of `input` along `dim` (None: each element, as a vector) `repeats` times, one behind the other."""

def fliplr(input: Tensor) -> Tensor:
    """`input`, of at least two dimensions, with its columns in reverse order: a copy."""

def flipud(input: Tensor) -> Tensor:
    """`input` with its rows in reverse order: a copy."""
