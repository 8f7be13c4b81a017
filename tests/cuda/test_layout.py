"""Merged dimensions, and division by multiplication."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gradcore.backends.cpp.strides import broadcast_strides, collapse
from gradcore.backends.cuda.layout import magic, plan_elementwise, plan_reduce

below_2_31 = st.integers(0, 2**31 - 1)


@given(below_2_31, st.integers(1, 2**31 - 1))
def test_magic_division(n, divisor):
    multiplier, shift = magic(divisor)
    assert multiplier < 2**32
    assert ((multiplier * n >> 32) + n) >> shift == n // divisor
    # The sum must not overflow 32 bits.
    assert (multiplier * n >> 32) + n < 2**32


@st.composite
def views(draw):
    """A shape, and arrays of it with permuted, reversed, sliced or broadcast dimensions."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=4)))
    operands = []
    for _ in range(draw(st.integers(1, 3))):
        order = draw(st.permutations(range(len(shape))))
        base = np.arange(int(np.prod([2 * n for n in shape], dtype=int))).reshape([2 * shape[d] for d in order])
        view = base.transpose(np.argsort(order))
        for d, n in enumerate(shape):
            step = draw(st.sampled_from([1, 2, -1, 0]))
            part = [slice(None)] * len(shape)
            part[d] = slice(0, 1) if step == 0 else slice(0, n) if step == 1 else slice(None, None, step)
            view = view[tuple(part)]
            if step == -1:
                view = view[tuple(slice(0, n) if e == d else slice(None) for e in range(len(shape)))]
        operands.append(np.broadcast_to(view, shape))
    return shape, operands


@given(views())
def test_collapsing_keeps_every_offset(case):
    shape, operands = case
    strides = [broadcast_strides(a.shape, a.strides, a.itemsize, shape) for a in operands]
    sizes, merged = collapse(shape, strides)
    assert all(s > 1 for s in sizes)
    for before, after in zip(strides, merged):
        expected = [sum(i * s for i, s in zip(index, before)) for index in np.ndindex(*shape)]
        assert [sum(i * s for i, s in zip(index, after)) for index in np.ndindex(*sizes)] == expected


def test_contiguous_operands_are_flat():
    operand = ((6, 8), (32, 4), 4)
    plan = plan_elementwise((6, 8), (operand, operand), 4, True)
    assert plan.flat and plan.access.width == 4
    assert plan_elementwise((6, 8), (operand, operand), 4, False).access.width == 1


def test_large_arrays_take_64_bit_indices():
    row = ((1, 2**20), (2**22, 4), 4)
    assert not plan_elementwise((2**10, 2**20), (row, ((2**10, 1), (4, 4), 4)), 4, True).wide
    assert plan_elementwise((2**12, 2**20), (row, ((2**12, 1), (4, 4), 4)), 4, True).wide
    assert plan_reduce((2**12, 2**20), (1,), (((2**12, 2**20), (2**22, 4), 4),), 4, True).wide


def test_the_cuts_of_a_reduction_depend_on_the_shape_alone():
    plan = plan_reduce((10**7,), (0,), (((10**7,), (4,), 4),), 4, True)
    assert plan.grid[0] == 1 and plan.splits == plan.grid[1] > 100
    assert plan.chunk * plan.splits >= 10**7 // 4 > plan.chunk * (plan.splits - 1)
