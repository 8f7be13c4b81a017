"""Drawing from distributions: `bernoulli`, `multinomial`, `normal`, and filling tensors in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import dtypes
from ..autograd.batching import check_random_in_place, drawn
from ..autograd.grad_mode import mode
from ..autograd.inplace import apply_inplace, copy_values, write_out
from ..autograd.tape import apply, tell, wrap
from ..autograd.variable import Variable
from ..backends import Array, backend_of
from ..devices import DeviceLike
from ..ops import sampling
from .functions import METHODS, function
from .random import Generator, default_generator, randn

if TYPE_CHECKING:
    from .tensor import Tensor


def _drawn(t: Any, kind: str, generator: Generator | None, *, wide: bool = False) -> Any:
    """Numbers of one `kind` in the shape and place of `t`: in its dtype, or in float64."""
    array, source = t._array, generator or default_generator
    dtype = dtypes.float64.numpy if wide else array.dtype
    backend = backend_of(array)
    return _for_members(array.shape, lambda shape: getattr(backend, kind)(shape, dtype, *source.draw()))


def _for_members(shape: tuple[int, ...], draw: Callable[[tuple[int, ...]], Array]) -> Any:
    """A tensor of random numbers; within `vmap` as its `randomness` says."""
    return drawn(shape, lambda full: wrap(draw(full))) if mode.levels else wrap(draw(shape))


def _fill(self: Tensor, values: Any) -> Tensor:
    if mode.levels:
        check_random_in_place(self)
    return apply_inplace(copy_values, (self, values), {})


def _check_floating(op: str, t: Any) -> None:
    if not t.dtype.is_floating_point:
        raise NotImplementedError(f"{op}() fills floating point tensors, not {t.dtype}")


def uniform_(self: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with uniform numbers in [a, b)."""
    if a > b:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={a} > to={b}")
    _check_floating("uniform_", self)
    values = _drawn(self, "uniform", generator)
    return _fill(self, values if (a, b) == (0, 1) else values * (b - a) + a)


def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with normal numbers of the given mean and standard deviation."""
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")
    _check_floating("normal_", self)
    values = _drawn(self, "normal", generator)
    return _fill(self, values if (mean, std) == (0, 1) else values * std + mean)


def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with numbers whose logarithm is normal, of the given mean and standard deviation."""
    if std <= 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std}")
    _check_floating("log_normal_", self)
    return _fill(self, (_drawn(self, "normal", generator) * std + mean).exp())


def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with exponentially distributed numbers of rate `lambd`."""
    if lambd <= 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd}")
    if not self.dtype.is_floating_point:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
            f"specified {dtypes.type_name(self._array.dtype)}"
        )
    return _fill(self, -(1 - _drawn(self, "uniform", generator)).log() / lambd)


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with the number of trials up to the first success, each of probability `p`."""
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p}")
    u = _drawn(self, "uniform", generator, wide=True)
    return _fill(self, ((1 - u).log() / math.log1p(-p)).ceil().clamp(min=1))


def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with Cauchy distributed numbers."""
    if sigma <= 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma}")
    _check_floating("cauchy_", self)
    return _fill(self, ((_drawn(self, "uniform", generator) - 0.5) * math.pi).tan() * sigma + median)


def random_(self: Tensor, *bounds: int | None, generator: Generator | None = None, **named: int | None) -> Tensor:
    """`random_()`, `random_(to)`, `random_(from, to)`: overwrite with integers in [from, to), all equally likely.

    Without `to` they go up to the largest integer that the dtype holds exactly.
    """
    given = dict(zip(("to",) if len(bounds) == 1 else ("from", "to"), bounds), **named)
    low, high = given.get("from") or 0, given.get("to")
    if high is None:
        high = _whole_limit(self.dtype) + (self.dtype is not dtypes.int64)
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    if high - low <= _EXACT_RANGE:
        return _fill(self, _integers(self, low, high, generator))
    # Of 63 random bits the remainder, as PyTorch does.
    bits = _integers(self, 0, 2**31, generator) * 2**32 + _integers(self, 0, 2**32, generator)
    return _fill(self, bits % min(high - low, 2**63 - 1) + low)


_EXACT_RANGE = 2**48  # in which every device draws integers that are all equally likely


def _integers(t: Any, low: int, high: int, generator: Generator | None) -> Any:
    draw = (generator or default_generator).draw()
    return wrap(backend_of(t._array).integers(low, high, t._array.shape, dtypes.int64.numpy, *draw))


def _whole_limit(d: dtypes.dtype) -> int:
    """The largest integer up to which a dtype holds all."""
    if d.is_floating_point:
        return round(2 / dtypes.finfo(d).eps)
    return 1 if d is dtypes.bool_ else dtypes.iinfo(d).max


def bernoulli_(self: Tensor, p: Tensor | float = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Overwrite with 1 with probability `p`, a number or a tensor that broadcasts, else 0."""
    if isinstance(p, Variable):
        _check_probabilities("bernoulli_", p)
    elif not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")
    wide = not self.dtype.is_floating_point
    return _fill(self, _drawn(self, "uniform", generator, wide=wide) < p)


def _check_probabilities(op: str, p: Any) -> None:
    if not p.dtype.is_floating_point:
        raise RuntimeError(f"{op}(): expected probabilities of a floating point dtype, got {p.dtype}")
    if not bool(((p.detach() >= 0) & (p.detach() <= 1)).all()):
        raise RuntimeError(f"{op}(): Expected p_in >= 0 && p_in <= 1 to be true, but got false.")


@function
def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None, out: Tensor | None = None
) -> Tensor:
    """1 with the probability that each element of `input` is, else 0; with `p`, that for all.

    The derivative is 0.

    Raises:
        RuntimeError: a probability is not in [0, 1].
        NotImplementedError: `input`, without `p`, is not of a floating point dtype.
    """
    if out is not None:
        return write_out("bernoulli", (input,), out, lambda: bernoulli(input, p, generator=generator))
    if p is not None:
        return bernoulli_(input.detach().clone(), p, generator=generator)
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"bernoulli\" not implemented for '{dtypes.type_name(input._array.dtype)}'")
    if mode.levels:
        return (_drawn(input, "uniform", generator) < input).to(input.dtype)
    _check_probabilities("bernoulli", input)
    seed, offset = (generator or default_generator).draw()
    return apply(sampling.bernoulli, (input,), {"seed": seed, "offset": offset})


_MOST_CATEGORIES = 2**24


@function
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Draw `num_samples` indices with the probabilities, up to a factor, that the rows of `input` give: int64.

    Args:
        input: (categories) or (rows, categories), floating point; each row is scaled to the sum 1.
        replacement: whether an index may be drawn more than once in a row.

    Raises:
        RuntimeError: shapes, dtypes or numbers do not fit; weights that are negative, infinite or NaN, or all zero.
    """
    if out is not None:
        if out.dtype is not dtypes.int64:
            raise RuntimeError(f"multinomial expects Long tensor out, got: {dtypes.type_name(out._array.dtype)}")
        return write_out(
            "multinomial", (input,), out, lambda: multinomial(input, num_samples, replacement, generator=generator)
        )
    if not input.dtype.is_floating_point:
        given = dtypes.type_name(input._array.dtype)
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {given}")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got {input.ndim}")
    categories = input.shape[-1]
    if num_samples <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {num_samples}")
    if not replacement and num_samples > categories:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if categories > _MOST_CATEGORIES:
        raise RuntimeError("number of categories cannot exceed 2^24")
    weights = input.detach()
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        wrong = "probability tensor contains either `inf`, `nan` or element < 0"
        raise RuntimeError(f"invalid multinomial distribution: {wrong}")
    if not bool((weights.sum(-1) > 0).all()):
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
    if not replacement and bool(((weights > 0).sum(-1) < num_samples).any()):
        raise RuntimeError(
            "invalid multinomial distribution (with replacement=False, not enough non-negative category to sample)"
        )
    rows = weights._array.reshape(-1, categories)
    pick = _with_replacement if replacement else _without_replacement
    index = wrap(pick(rows, num_samples, *(generator or default_generator).draw()))
    tell(None, (input,), {}, (index,))
    return index if input.ndim == 2 else index.reshape(num_samples)


def _with_replacement(weights: Array, count: int, seed: int, offset: int) -> Array:
    """Positions in the cumulative distributions of the rows, all searched at once: row i's lies in [i, i + 1)."""
    backend = backend_of(weights)
    xp, (rows, categories) = backend.xp, weights.shape
    wide = backend.astype(weights, dtypes.float64.numpy)
    sums = xp.cumsum(wide, 1)
    row = xp.arange(rows)[:, None]
    ends = sums / sums[:, -1:] + row
    draws = backend.uniform((rows, count), dtypes.float64.numpy, seed, offset) + row
    found = xp.searchsorted(ends.reshape(-1), draws.reshape(-1), side="right").reshape(rows, count) - row * categories
    # Rounding may have led to the next row, or to a weight of 0 at either end.
    positive = wide > 0
    first = xp.argmax(positive, 1)[:, None]
    last = categories - 1 - xp.argmax(positive[:, ::-1], 1)[:, None]
    return backend.astype(xp.minimum(xp.maximum(found, first), last), dtypes.int64.numpy)


def _without_replacement(weights: Array, count: int, seed: int, offset: int) -> Array:
    """The first to arrive, where each category arrives after an exponential time of its weight as rate.

    P. Efraimidis and P. Spirakis, "Weighted random sampling with a reservoir", 2006.
    """
    backend = backend_of(weights)
    xp = backend.xp
    wide = backend.astype(weights, dtypes.float64.numpy)
    draws = backend.uniform(weights.shape, dtypes.float64.numpy, seed, offset)
    times = xp.where(wide > 0, -xp.log1p(-draws) / xp.where(wide > 0, wide, 1), math.inf)
    return backend.astype(xp.argsort(times, 1)[:, :count], dtypes.int64.numpy)


def normal(
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    size: Sequence[int] | None = None,
    *,
    generator: Generator | None = None,
    dtype: dtypes.dtype | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Normal numbers of the given means and standard deviations, tensors (which broadcast) or numbers.

    `normal(mean, std, size)` with two numbers takes a shape, a dtype and a device.

    Raises:
        RuntimeError: a standard deviation is negative.
    """
    tensors = [t for t in (mean, std) if isinstance(t, Variable)]
    if out is not None:
        return write_out(
            "normal", tensors, out, lambda: normal(mean, std, size, generator=generator, dtype=dtype, device=device)
        )
    lowest = std.min().item() if isinstance(std, Variable) and std.numel() else std
    if not isinstance(lowest, Variable) and lowest < 0:
        found = "elements < 0" if isinstance(std, Variable) else f"std {std}"
        raise RuntimeError(f"normal expects std >= 0.0, but found {found}")
    if not tensors:
        if size is None:
            raise TypeError("normal(): with two numbers, mean and std, a size is needed: normal(mean, std, (n,))")
        made = randn(*size, generator=generator, dtype=dtype, device=device)
        return (made * std + mean).requires_grad_(requires_grad)
    if size is not None:
        raise TypeError("normal() got a size, which the tensors mean and std have already")
    spread: Any = sum(t.detach() * 0 for t in tensors)
    return _drawn(spread, "normal", generator) * _values(std) + _values(mean)


def _values(x: Tensor | float) -> Any:
    return x.detach() if isinstance(x, Variable) else x


_FILLS: tuple[Callable[..., Any], ...] = (
    uniform_, normal_, log_normal_, exponential_, geometric_, cauchy_, random_, bernoulli_,
)  # fmt: skip
METHODS.update({f.__name__: f for f in _FILLS})

# The functions of gradcore that are made here besides those of tensors.
__all__ = ["normal"]
