"""`vmap`: a function of one member of a batch as a function of the whole batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..autograd.batching import BatchLevel
from ..autograd.variable import Variable
from ..ops.dims import wrap_dim
from ..tensor.functions import FUNCTIONS
from ..tensor.random import get_rng_state, set_rng_state
from ..utils._pytree import Structure, broadcast_prefix, flatten, unflatten

Dims = Any  # an int, None, or a nesting of them

_RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any],
    in_dims: Dims = 0,
    out_dims: Dims = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function that applies `func` to each member of a batch, all at once.

    `func` is written for one member; it runs once, on tensors that stand for all members, and every operation works on
    the whole batch. It composes with `grad`, `jacrev` and the other transforms, and with itself.

    Args:
        func: takes tensors, nested in tuples, lists and dictionaries, and anything else; returns tensors, nested so.
        in_dims: which dimension of each positional argument runs over the batch: an int for all of them, or a tuple
            with an entry for each, which may be nested as the argument is; None for what is the same for all members.
            Keyword arguments are passed on as they are.
        out_dims: where that dimension is to be in the results; None for a result that is the same for all members.
        randomness: what random operations do: raise (`"error"`), draw numbers for each member (`"different"`), or
            draw once for all of them (`"same"`).
        chunk_size: how many members to compute at once, at most; None: all.

    Raises:
        ValueError: `in_dims` or `out_dims` do not fit the arguments or results, or sizes of the batch disagree.
        RuntimeError: `func` needs the value of a member: for a branch, as a number, for the shape of a result.

    >>> import gradcore as torch
    >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> vmap(torch.dot)(x, x)
    tensor([ 5., 25.])
    >>> vmap(torch.mul, in_dims=(0, None), out_dims=1)(x, torch.tensor([1.0, 10.0]))
    tensor([[ 1.,  3.],
            [20., 40.]])
    """
    if randomness not in _RANDOMNESS:
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", None) or repr(func)

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten(args)
        dims = _in_dims(in_dims, leaves, structure, name)
        size = _batch_size(leaves, dims)
        fronts = [t if dim is None else moved(t, dim, 0) for t, dim in zip(leaves, dims)]

        def run(members: Sequence[Any], count: int) -> tuple[list[Any], list[Any], Structure]:
            with BatchLevel(count, randomness) as level:
                entered = [t if dim is None else level.batch(t) for t, dim in zip(members, dims)]
                result = func(*unflatten(entered, structure), **kwargs)
                outputs, found = flatten(result)
                places = _out_dims(out_dims, result, found, name)
                return [_left(t, place, level, name) for t, place in zip(outputs, places)], places, found

        if chunk_size is None or size <= chunk_size:
            outputs, places, found = run(fronts, size)
        else:
            parts = []
            state = get_rng_state() if randomness == "same" else None
            for members, count in _chunks(fronts, dims, size, chunk_size):
                if state is not None:
                    set_rng_state(state)
                part, places, found = run(members, count)
                parts.append(part)
            cat = FUNCTIONS["cat"]
            outputs = [p[0] if place is None else cat(p, dim=place) for p, place in zip(zip(*parts), places)]
        return unflatten(outputs, found)

    return mapped


def moved(t: Any, source: int, target: int) -> Any:
    """`t` with one dimension elsewhere, and the others in their order."""
    if source == target:
        return t
    order = [d for d in range(t.ndim) if d != source]
    order.insert(target, source)
    return t.permute(order)


# ---------------------------------------------------------------- arguments
def _in_dims(in_dims: Dims, leaves: Sequence[Any], structure: Structure, name: str) -> list[int | None]:
    """The dimension that runs over the batch for each leaf of the arguments."""
    where = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
    if not isinstance(in_dims, (int, tuple)):
        raise ValueError(
            f"{where}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, "
            f"got: {type(in_dims)}."
        )
    if not leaves:
        raise ValueError(
            f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a "
            "function with no inputs. The latter is unsupported."
        )
    given = broadcast_prefix(in_dims, structure)
    if given is None:
        raise ValueError(
            f"{where}: in_dims is not compatible with the structure of `inputs`. in_dims has structure "
            f"{flatten(in_dims)[1]} but inputs has structure {structure}."
        )
    dims: list[int | None] = []
    for t, dim in zip(leaves, given):
        if dim is not None and not isinstance(dim, int):
            raise ValueError(
                f"{where}: Got in_dim={dim} for an input but in_dim must be either an integer dimension or None."
            )
        if dim is not None and not isinstance(t, Variable):
            raise ValueError(
                f"{where}: Got in_dim={dim} for an input but the input is of type {type(t)}. We cannot vmap over "
                "non-Tensor arguments, please use None as the respective in_dim"
            )
        if dim is not None and not -t.ndim <= dim < t.ndim:
            raise ValueError(
                f"{where}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {t.ndim} so "
                f"expected in_dim to satisfy -{t.ndim} <= in_dim < {t.ndim}."
            )
        dims.append(None if dim is None else dim % t.ndim)
    return dims


def _batch_size(leaves: Sequence[Any], dims: Sequence[int | None]) -> int:
    sizes = [int(t.shape[dim]) for t, dim in zip(leaves, dims) if dim is not None]
    if not sizes:
        raise ValueError("vmap: Expected at least one Tensor to vmap over")
    if any(size != sizes[0] for size in sizes):
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sizes} for the "
            "mapped dimension"
        )
    return sizes[0]


def _chunks(
    fronts: Sequence[Any], dims: Sequence[int | None], size: int, chunk_size: int
) -> Iterator[tuple[list[Any], int]]:
    for start in range(0, size, chunk_size):
        count = min(chunk_size, size - start)
        yield [t if dim is None else t.narrow(0, start, count) for t, dim in zip(fronts, dims)], count


# ---------------------------------------------------------------- results
def _out_dims(out_dims: Dims, result: Any, structure: Structure, name: str) -> list[int | None]:
    """Where the batch is to be in each result."""
    where = f"vmap({name}, ..., out_dims={out_dims})"
    if isinstance(result, Variable) and isinstance(out_dims, tuple) and len(out_dims) == 1:
        (out_dims,) = out_dims
    given = broadcast_prefix(out_dims, structure)
    if given is None:
        raise ValueError(
            f"{where}(<inputs>): out_dims is not compatible with the structure of `outputs`. out_dims has structure "
            f"{flatten(out_dims)[1]} but outputs has structure {structure}."
        )
    for dim in given:
        if dim is not None and not isinstance(dim, int):
            raise ValueError(
                f"{where}: `out_dims` must be an int, None or a python collection of ints representing where in the "
                "outputs the vmapped dimension should appear."
            )
    return given


def _left(t: Any, place: int | None, level: BatchLevel, name: str) -> Any:
    """A result as it is outside of the level, with the batch at `place`."""
    if not isinstance(t, Variable):
        if place is None:
            return t
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(t)}. Did you mean to set out_dims= "
            "to None for output?"
        )
    value, batched = level.members(t)
    if place is None:
        if batched:
            raise ValueError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        return value
    at = wrap_dim(place, t._array.ndim + 1)
    return moved(value if batched else value.expand(level.size, *value.shape), 0, at)
