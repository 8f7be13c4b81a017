"""`vmap`: every op on a batch against a loop over its members, how levels nest, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import TOLERANCE
from samples import SAMPLES

import gradcore as gc
from gradcore.func import vjp, vmap

SIZE = 3
# Their first input is changed in place (a copy of it), which must be batched then, as in PyTorch.
IN_PLACE = ("setitem", "add_", "mul_", "sub_", "mul_ on a view")


def members(sample, seed):
    return sample.arrays("float64", seed)


def batched_inputs(sample, which, dim):
    """The inputs of a sample: those of `which` in batches along `dim`, the others the same for all members."""
    each = [members(sample, seed) for seed in range(SIZE)]
    batches = [np.stack([m[i] for m in each], axis=dim) if i in which else each[0][i] for i in range(len(each[0]))]
    loops = [[m[i] if i in which else each[0][i] for i in range(len(m))] for m in each]
    return batches, loops


def subsets(sample):
    count = len(sample.shapes)
    found = [c for n in range(1, count + 1) for c in itertools.combinations(range(count), n)]
    return [c for c in found if 0 in c] if sample.name in IN_PLACE else found


def close(found, expected, dtype=gc.float64):
    rtol, atol = TOLERANCE[dtype]
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)
def test_a_batch_is_a_loop(sample):
    for which in subsets(sample):
        for dim in (0, -1):
            batches, loops = batched_inputs(sample, which, dim)
            dims = tuple(dim if i in which else None for i in range(len(batches)))
            found = vmap(lambda *xs: sample.function(gc, *xs), in_dims=dims)(*map(gc.tensor, batches))
            expected = np.stack([sample.function(gc, *map(gc.tensor, m)).numpy() for m in loops])
            assert found.dtype == gc.tensor(expected).dtype
            close(found, expected)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.differentiable], ids=lambda s: s.id)
def test_gradients_of_a_batch_are_those_of_a_loop(sample):
    """Those of each member, computed within the batch; and those through the batch."""

    def function(*xs):
        return sample.function(gc, *xs)

    for which in subsets(sample):
        batches, loops = batched_inputs(sample, which, 0)
        seed = np.random.default_rng(1).standard_normal((SIZE, *function(*map(gc.tensor, loops[0])).shape))
        expected = []
        for m, s in zip(loops, seed):
            expected.append(vjp(function, *map(gc.tensor, m))[1](gc.tensor(s)))
        dims = tuple(0 if i in which else None for i in range(len(batches)))

        def within(s, *xs):
            return vjp(function, *xs)[1](s)

        found = vmap(within, in_dims=(0, *dims))(gc.tensor(seed), *map(gc.tensor, batches))
        for i, g in enumerate(found):
            close(g, np.stack([e[i].numpy() for e in expected]))
        through = vjp(vmap(function, in_dims=dims), *map(gc.tensor, batches))[1](gc.tensor(seed))
        for i, g in enumerate(through):
            each = np.stack([e[i].numpy() for e in expected])
            close(g, each if i in which else each.sum(0))
