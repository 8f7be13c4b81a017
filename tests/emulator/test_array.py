"""The device array: cupy.ndarray's interface, compared with NumPy's results."""

import copy
import operator
import pickle

import ml_dtypes
import numpy as np
import pytest

from gradcore.backends.emulator import api as xp

HOST = np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7


@pytest.fixture
def x():
    return xp.asarray(HOST)


def same(device, host):
    assert isinstance(device, xp.ndarray)
    assert device.dtype == host.dtype
    assert device.shape == host.shape
    np.testing.assert_array_equal(device.get(), host)


def test_attributes(x):
    t = x.transpose(2, 0, 1)
    host = HOST.transpose(2, 0, 1)
    for name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides"):
        assert getattr(t, name) == getattr(host, name), name
    assert x.flags.c_contiguous and not t.flags.c_contiguous
    assert x.base is None and t.base is x and t[0].base is x
    assert x[1].data.ptr == x.data.ptr + 48
    assert len(x) == 2
    interface = x[:, 1].__cuda_array_interface__
    assert (interface["shape"], interface["strides"], interface["typestr"]) == ((2, 4), (48, 4), "<f4")
    assert interface["data"] == (x.data.ptr + 16, False)
    assert x.device == xp.cuda.Device(0)


def test_nothing_is_converted_to_the_host_implicitly(x):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(x)
    for mixed in (lambda: x + HOST, lambda: HOST + x, lambda: np.add(HOST, x), lambda: np.concatenate([x, HOST])):
        with pytest.raises(TypeError, match="Unsupported type <class 'numpy.ndarray'>"):
            mixed()
    with pytest.raises(TypeError, match="Unsupported type"):
        x[0] = HOST[0]
    with pytest.raises(TypeError, match="Unsupported type"):
        x += HOST


def test_host_copies(x):
    got = x.get()
    got[:] = 0
    same(x, HOST)
    out = np.empty_like(HOST)
    assert x.get(out=out) is out
    np.testing.assert_array_equal(out, HOST)
    x.set(HOST * 2)
    same(x, HOST * 2)
    x[:] = HOST + 1
    same(x, HOST + 1)
    with pytest.raises(TypeError, match="float64 array cannot be set to float32"):
        x.set(HOST.astype(np.float64))
    with pytest.raises(ValueError, match="Shape mismatch"):
        x.set(HOST[0])
    with pytest.raises(RuntimeError, match="non-contiguous"):
        x[:, 1].set(HOST[:, 1])
    with pytest.raises(ValueError, match="same shape and dtype"):
        x[:] = HOST[0]
    with pytest.raises(TypeError, match="Unsupported type"):
        x[...] = HOST
    with pytest.raises(ValueError, match="out has"):
        x.get(out=np.empty(3))


@pytest.mark.parametrize("name", "add sub mul truediv floordiv mod pow lt le gt ge eq ne".split())
@pytest.mark.parametrize("other", [3, 2.5, np.float32(2), "array"])
def test_binary_operators(name, other):
    function = getattr(operator, name)
    host = np.abs(HOST) + 1
    x = xp.asarray(host)
    device_other, host_other = (x[1], host[1]) if other == "array" else (other, other)
    same(function(x, device_other), function(host, host_other))
    if other != "array":
        same(function(device_other, x), function(host_other, host))


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
def test_integer_operators(name):
    function = getattr(operator, name)
    host = np.arange(10, dtype=np.int64)
    same(function(xp.asarray(host), 3), function(host, 3))
    same(function(3, xp.asarray(host)), function(3, host))


def test_unary_operators(x):
    same(-x, -HOST)
    same(+x, +HOST)
    same(abs(x), abs(HOST))
    same(~(x > 0), ~(HOST > 0))


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "ipow"])
def test_in_place_operators(name, x):
    function = getattr(operator, name)
    view, expected = x[:, 1], HOST.copy()
    expected[:, 1] = function(expected[:, 1], 2)
    pointer = view.data.ptr
    view = function(view, 2)
    assert view.data.ptr == pointer
    same(x, expected)


def test_operators_leave_other_types_their_turn(x):
    class Other:
        __array_ufunc__ = None

        def __radd__(self, other):
            return "reflected"

    class Important:
        __array_priority__ = 1000

        def __rmul__(self, other):
            return "reflected"

    assert x + Other() == "reflected"
    assert x * Important() == "reflected"
    with pytest.raises(TypeError):
        x + object()


def test_matmul(x):
    same(x @ x[0].T, HOST @ HOST[0].T)
    same(xp.matmul(x, x.swapaxes(1, 2)), HOST @ HOST.swapaxes(1, 2))
    same(x[0].dot(x[0].T), HOST[0] @ HOST[0].T)
    halves = xp.ones((3, 5000), np.float16)
    same(halves @ halves.T, np.full((3, 3), 5000, np.float16))
    bfloats = xp.full((2, 300), 1, ml_dtypes.bfloat16)
    same(bfloats @ bfloats.T, np.full((2, 2), 300, ml_dtypes.bfloat16))
    out = xp.empty((2, 2), ml_dtypes.bfloat16)
    assert xp.matmul(bfloats, bfloats.T, out=out) is out and float(out[0, 0]) == 300
    with pytest.raises(TypeError, match="batches of bfloat16"):
        bfloats[None] @ bfloats.T[None]


REDUCTIONS = [
    ("sum", {}),
    ("sum", {"axis": 1}),
    ("mean", {"axis": (0, 2), "keepdims": True}),
    ("max", {"axis": 2}),
    ("min", {}),
    ("prod", {"axis": 0}),
    ("std", {"ddof": 1}),
    ("var", {"axis": 1}),
    ("argmax", {"axis": 1}),
    ("argmin", {}),
    ("any", {"axis": 0}),
    ("all", {}),
    ("cumsum", {"axis": 1}),
]


@pytest.mark.parametrize(("name", "kwargs"), REDUCTIONS)
def test_reductions_return_arrays(name, kwargs, x):
    expected = np.asarray(getattr(HOST, name)(**kwargs))
    for result in (getattr(x, name)(**kwargs), getattr(xp, name)(x, **kwargs)):
        assert isinstance(result, xp.ndarray) and result.shape == expected.shape and result.dtype == expected.dtype
        np.testing.assert_allclose(result.get(), expected, rtol=1e-6)


def test_halves_are_summed_in_single_precision():
    for dtype in (np.float16, ml_dtypes.bfloat16):
        ones = xp.ones(3000, dtype)
        assert float(ones.sum()) == float(np.asarray(3000, dtype))
        assert ones.mean().dtype == dtype
    assert xp.ones(3000, np.float16).cumsum()[-1].item() == 3000


def test_shape_methods(x):
    for device, host in (
        (x.reshape(6, 4), HOST.reshape(6, 4)),
        (x.reshape((-1, 2)), HOST.reshape(-1, 2)),
        (x.transpose(), HOST.transpose()),
        (x.T, HOST.T),
        (x.swapaxes(0, 2), HOST.swapaxes(0, 2)),
        (x[:1].squeeze(), HOST[:1].squeeze()),
        (x.ravel(), HOST.ravel()),
        (x.view(np.int32), HOST.view(np.int32)),
        (xp.broadcast_to(x[0], (5, 3, 4)), np.broadcast_to(HOST[0], (5, 3, 4))),
        (xp.moveaxis(x, 0, 1), np.moveaxis(HOST, 0, 1)),
        (xp.expand_dims(x, 1), np.expand_dims(HOST, 1)),
    ):
        same(device, host)
        assert device.base is x
    same(x.flatten(), HOST.flatten())
    assert x.flatten().base is None
    same(x.T.reshape(-1), HOST.T.reshape(-1))


def test_indexing(x):
    index = np.array([1, 0, 1])
    mask = HOST > 0
    device_index, device_mask = xp.asarray(index), xp.asarray(mask)
    for device, host in (
        (x[1], HOST[1]),
        (x[0, 1, 2], np.asarray(HOST[0, 1, 2])),
        (x[..., ::-1], HOST[..., ::-1]),
        (x[:, None, 1:], HOST[:, None, 1:]),
        (x[[0, 1, 1]], HOST[[0, 1, 1]]),
        (x[device_index], HOST[index]),
        (x[device_index, 1:], HOST[index, 1:]),
        (x[device_mask], HOST[mask]),
        (x.take(device_index, axis=1), HOST.take(index, axis=1)),
        (x[xp.asarray(1)], HOST[1]),
    ):
        same(device, host)
    with pytest.raises(IndexError):
        x[xp.asarray([5])]
    with pytest.raises(IndexError):
        x[0, 7]


def test_assignment(x):
    host = HOST.copy()
    x[0, 1] = 5
    host[0, 1] = 5
    x[1, :, 0] = x[0, :, 1]
    host[1, :, 0] = host[0, :, 1]
    x[xp.asarray(host < 0)] = 0
    host[host < 0] = 0
    x[:, xp.asarray([2, 0])] = xp.ones(4, np.float32)
    host[:, [2, 0]] = 1
    x[0][2][3] = -1
    host[0][2][3] = -1
    same(x, host)


def test_scalars():
    x = xp.asarray(2.5)
    assert (float(x), int(x), bool(x), x.item(), complex(x)) == (2.5, 2, True, 2.5, 2.5 + 0j)
    assert [10, 20, 30][xp.asarray(1)] == 20
    with pytest.raises((TypeError, ValueError)):
        bool(xp.zeros(2))
    with pytest.raises(TypeError):
        len(x)
    with pytest.raises(TypeError):
        iter(x)
    with pytest.raises(TypeError):
        hash(x)


def test_iteration(x):
    rows = list(x)
    assert len(rows) == 2
    same(rows[1], HOST[1])
    assert x.tolist() == HOST.tolist()


def test_texts(x):
    assert repr(x) == repr(HOST)
    assert str(x) == str(HOST)
    assert f"{xp.asarray(1.5):.2f}" == "1.50"


def test_copies(x):
    for duplicate in (x.copy(), copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x)), xp.array(x)):
        same(duplicate, HOST)
        assert duplicate.data.ptr != x.data.ptr
    assert xp.asarray(x) is x
    assert xp.ascontiguousarray(x) is x
    assert xp.ascontiguousarray(x.T).flags.c_contiguous
    same(x.astype(np.int8), HOST.astype(np.int8))
    assert x.astype(np.float32, copy=False) is x
    assert x.T.copy().flags.c_contiguous


def test_in_place_methods(x):
    x.fill(3)
    assert (x == 3).all()
    y = xp.asarray([3, 1, 2])
    assert y.sort() is None
    assert y.tolist() == [1, 2, 3]
    x.shape = (4, 6)
    assert x.shape == (4, 6)


def test_numpy_functions_stay_on_the_device(x):
    same(np.exp(x), np.exp(HOST))
    same(np.where(x > 0, x, 0), np.where(HOST > 0, HOST, 0))
    same(np.add.reduce(x, axis=1), np.add.reduce(HOST, axis=1))
    out = xp.empty(HOST.shape, np.float32)
    assert np.multiply(x, 2, out=out) is out
    same(out, HOST * 2)


def test_no_floating_point_warnings(recwarn):
    zero = xp.zeros(2)
    assert xp.isnan(zero / zero).all()
    assert xp.isinf(xp.log(zero)).all()
    zero[...] = xp.exp(xp.full(2, 1e4))
    assert not recwarn
