"""The namespace that stands in for cupy."""

import operator

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.emulator import CUDARuntimeError, cupyx
from gradcore.backends.emulator import api as xp


def test_dtypes_and_constants():
    assert xp.float32 is np.float32 and xp.int64 is np.int64 and xp.dtype("f2") == np.float16
    assert xp.pi == np.pi and xp.newaxis is None and xp.inf == np.inf
    assert xp.result_type(xp.zeros(1, np.float32), np.float64) == np.float64
    assert xp.finfo(np.float32).eps == np.finfo(np.float32).eps
    assert not hasattr(xp, "no_such_function") and not hasattr(xp, "random")


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.int8, np.int64, np.float16, np.float32, np.complex64, ml_dtypes.bfloat16]
)
def test_making_arrays(dtype):
    for made, expected in (
        (xp.zeros((2, 3), dtype), np.zeros((2, 3), dtype)),
        (xp.ones(4, dtype), np.ones(4, dtype)),
        (xp.full((2,), 1, dtype), np.full((2,), 1, dtype)),
        (xp.asarray(np.ones(3), dtype), np.ones(3).astype(dtype)),
        (xp.array([0, 1, 1], dtype), np.array([0, 1, 1], dtype)),
    ):
        assert isinstance(made, xp.ndarray) and made.dtype == expected.dtype
        np.testing.assert_array_equal(made.get(), expected)
    like = xp.ones((3, 2), dtype)
    assert xp.empty_like(like).shape == (3, 2) and xp.zeros_like(like).dtype == dtype
    assert xp.ones_like(like, dtype=np.float64).dtype == np.float64
    assert xp.full_like(like, 1).get().tolist() == like.get().tolist()
    assert xp.empty((0, 3), dtype).shape == (0, 3)


def test_ranges_and_grids():
    assert xp.arange(5).tolist() == [0, 1, 2, 3, 4]
    assert xp.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
    assert xp.eye(2).tolist() == [[1, 0], [0, 1]]
    assert isinstance(xp.arange(3), xp.ndarray)


def test_nested_lists_of_device_arrays():
    one = xp.asarray([1.0, 2.0])
    assert xp.array([one, one + 1]).tolist() == [[1, 2], [2, 3]]
    assert xp.array(5, ndmin=2).shape == (1, 1)


def test_transfers_copy():
    host = np.arange(3.0)
    device = xp.asarray(host)
    host[0] = 9
    assert device.tolist() == [0, 1, 2]
    back = xp.asnumpy(device)
    back[0] = 9
    assert device.tolist() == [0, 1, 2]
    assert xp.asnumpy([1, 2]).tolist() == [1, 2]
    assert xp.get_array_module(device) is xp and xp.get_array_module(host) is np


def test_functions():
    x, y = xp.asarray([3.0, 1.0, 2.0]), xp.asarray([1, 0, 2])
    assert xp.concatenate([x, x[:1]]).tolist() == [3, 1, 2, 3]
    assert xp.stack((x, x), axis=1).shape == (3, 2)
    assert xp.where(x > 1, x, 0).tolist() == [3, 0, 2]
    assert xp.take(x, y).tolist() == [1, 3, 2]
    assert xp.maximum(x, 2).tolist() == [3, 2, 2]
    assert [part.tolist() for part in xp.split(x, 3)] == [[3], [1], [2]]
    assert xp.nonzero(x > 1)[0].tolist() == [0, 2]
    values, counts = xp.unique(xp.asarray([2, 1, 2]), return_counts=True)
    assert (values.tolist(), counts.tolist()) == ([1, 2], [1, 2])
    assert float(xp.linalg.norm(xp.asarray([3.0, 4.0]))) == 5
    assert xp.einsum("i,i->", x, x).shape == ()
    assert float(xp.mean(x)) == 2
    target = xp.zeros(3)
    xp.add.at(target, y, x)
    assert target.tolist() == [1, 3, 2]
    assert xp.add.reduce(x).item() == 6
    with pytest.raises(TypeError, match="Unsupported type"):
        xp.exp(np.ones(3))
    with pytest.raises(TypeError, match="Unsupported type"):
        xp.matmul(np.ones((2, 2)), xp.ones((2, 2)))


def test_what_cupy_has_not():
    x = xp.asarray([3.0, 1.0, 1.0])
    for name in ("block", "insert", "vecdot", "errstate", "linalg.multi_dot"):
        with pytest.raises(AttributeError, match=f"{name}.*CuPy has no such function"):
            operator.attrgetter(name)(xp)
    for sort in (xp.sort, xp.argsort, x.sort, x.argsort):
        with pytest.raises(ValueError, match="kind can only be None or 'stable'"):
            sort(*() if sort in (x.sort, x.argsort) else (x,), kind="quicksort")
    assert xp.argsort(x).tolist() == [1, 2, 0] and xp.sort(xp.stack([x, x]), None).tolist() == [1, 1, 1, 1, 3, 3]
    with pytest.raises(TypeError, match="mode"):
        xp.take(x, xp.asarray([0]), mode="clip")


def test_linear_algebra_does_not_raise_unless_told_to():
    singular, bad = xp.zeros((2, 3, 3)), xp.full((4, 2), np.nan)
    for function, args in (
        (xp.linalg.inv, (singular,)),
        (xp.linalg.solve, (singular, xp.ones((2, 3, 1)))),
        (xp.linalg.cholesky, (-singular,)),
        (xp.linalg.svd, (bad,)),
    ):
        for result in (found,) if isinstance(found := function(*args), xp.ndarray) else found:
            assert np.isnan(result.get()).all()
        with cupyx.errstate(linalg="raise"), pytest.raises(np.linalg.LinAlgError):
            function(*args)
    assert xp.linalg.svd(bad)[0].shape == (4, 4)
    assert xp.linalg.inv(xp.eye(2) * 2).tolist() == [[0.5, 0], [0, 0.5]]


def test_the_device():
    device = xp.cuda.Device(0)
    assert xp.cuda.runtime.getDeviceCount() == 1 and xp.cuda.runtime.getDevice() == 0
    assert b"emulated" in xp.cuda.runtime.getDeviceProperties(0)["name"]
    assert device.compute_capability == "80"
    assert device.attributes["MultiProcessorCount"] > 0
    assert device.attributes["MaxSharedMemoryPerBlockOptin"] == 101376
    assert device.attributes["MaxThreadsPerBlock"] == 1024
    free, total = device.mem_info
    assert 0 < free <= total
    with device as same:
        assert same is device
        device.synchronize()
    assert device == xp.cuda.Device() and int(device) == device.id == 0
    with pytest.raises(CUDARuntimeError, match="invalid device ordinal 1"):
        xp.cuda.Device(1)
    with pytest.raises(xp.cuda.runtime.CUDARuntimeError):
        xp.cuda.runtime.setDevice(3)


def test_streams_and_events():
    null = xp.cuda.get_current_stream()
    assert null is xp.cuda.Stream.null and null.ptr == 0
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        assert xp.cuda.get_current_stream() is stream
        start = stream.record()
    assert xp.cuda.get_current_stream() is null
    end = xp.cuda.Event()
    end.record()
    end.synchronize()
    null.synchronize()
    assert xp.cuda.get_elapsed_time(start, end) >= 0
    assert end.done and stream.done
