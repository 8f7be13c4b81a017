"""Guard zones, poison and the count of what is alive."""

import gc

import numpy as np
import pytest

from gradcore.backends.emulator import KernelError, memory, using
from gradcore.backends.emulator import api as xp

POKE = 'extern "C" __global__ void poke(float* x, int i) { x[i] = 1.f; }'


def poke(array, index):
    xp.RawKernel(POKE, "poke")((1,), (1,), (array, np.int32(index)))


@pytest.mark.parametrize(("index", "where"), [(10, "after"), (-1, "before"), (73, "after"), (-64, "before")])
def test_a_write_into_a_guard_zone_is_reported_by_the_launch(index, where):
    x = xp.zeros(10, np.float32)
    with using(mode="fast"), pytest.raises(KernelError, match=f"the memory {where} the array of argument 0 was overw"):
        poke(x, index)
    poke(x, 0)  # reported once
    assert x.tolist() == [1.0] + [0.0] * 9


def test_guard_zones_begin_at_the_last_byte():
    code = 'extern "C" __global__ void poke(unsigned char* x, int i) { x[i] = 1; }'
    x = xp.zeros(3, np.uint8)
    with using(mode="fast"), pytest.raises(KernelError, match="after"):
        xp.RawKernel(code, "poke")((1,), (1,), (x, np.int32(3)))


def test_an_overwritten_zone_is_reported_after_the_array_is_freed():
    x = xp.zeros(10, np.float32)
    x._memory.raw[x._memory.offset + 40] ^= 1
    del x
    gc.collect()
    with pytest.raises(KernelError, match="the memory after an array of 40 bytes was overwritten while it lived"):
        xp.cuda.Device().synchronize()
    xp.cuda.Device().synchronize()


def test_copying_from_zone_to_zone_is_noticed():
    code = 'extern "C" __global__ void copy(const float* x, float* y, int i) { y[i] = x[i]; }'
    x, y = xp.zeros(10, np.float32), xp.zeros(10, np.float32)
    with using(mode="fast"), pytest.raises(KernelError, match="after the array of argument 1"):
        xp.RawKernel(code, "copy")((1,), (1,), (x, y, np.int32(10)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fresh_memory_is_not_a_number(dtype):
    assert xp.isnan(xp.empty(7, dtype)).all()


def test_fresh_memory_of_odd_size():
    assert xp.empty(5, np.uint8).size == 5


def test_used_bytes():
    pool = xp.get_default_memory_pool()
    gc.collect()
    before = pool.used_bytes()
    x = xp.zeros((10, 10), np.float32)
    view = x[2:]
    assert pool.used_bytes() == pool.total_bytes() == before + 512  # in whole blocks
    del x
    assert pool.used_bytes() == before + 512  # the view keeps it
    del view
    gc.collect()
    assert pool.used_bytes() == before
    pool.free_all_blocks()


def test_allocations_are_aligned():
    assert all(xp.empty(n, np.uint8).data.ptr % 256 == 0 for n in (0, 1, 255, 1000))


def test_finding_allocations():
    x, y = xp.zeros(10, np.float32), xp.zeros(3, np.float32)
    begin = x.data.ptr
    assert memory.allocation_containing(begin + 39) == (begin, begin + 40)
    assert memory.allocation_containing(begin + 40) is None
    table = np.array([0, begin + 4, y.data.ptr, y.data.ptr + 12, 2**63], np.uint64)
    assert memory.allocations_in_table(table) == {(begin, begin + 40), (y.data.ptr, y.data.ptr + 12)}
