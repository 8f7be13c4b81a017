"""Sharing memory with other libraries: NumPy, DLPack, the CUDA array interface; and einops on tensors."""

from __future__ import annotations

import gc as collector
import subprocess
import sys
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import gradcore as gc
from gradcore import dtypes
from gradcore.utils.dlpack import DLDeviceType, from_dlpack, to_dlpack

VERSIONS = [None, (1, 0)]
CUDA = pytest.mark.parametrize("device", ["cuda"], indirect=True)


def xp_of(device: str) -> Any:
    """The array library of a device."""
    return gc.backends.backend_for(gc.device(device)).xp


class Lender:
    """An array of a library that knows only some of DLPack's options."""

    def __init__(self, array: np.ndarray, *known: str):
        self.array, self.known, self.asked = array, known, []

    def __dlpack__(self, **options: Any) -> Any:
        self.asked.append(options)
        if not set(options) <= set(self.known):
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


# ---------------------------------------------------------------- DLPack with PyTorch
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[::2], lambda x: x.T, lambda x: x[:0], lambda x: x[1, 2]])
def test_pytorch_both_ways(oracle, dtype, view):
    own = view(gc.arange(12).reshape(4, 3).to(dtype))
    theirs = oracle.from_dlpack(own)
    assert (str(theirs.dtype), tuple(theirs.shape)) == (str(dtype).replace("gradcore", "torch"), tuple(own.shape))
    assert theirs.tolist() == own.tolist()
    back = gc.from_dlpack(theirs)
    assert (back.dtype, back.shape) == (dtype, own.shape)
    for one in (theirs, back):
        one.fill_(1)
        assert own.tolist() == one.tolist() == theirs.tolist()
        one.fill_(0)
    if own.numel():
        assert own.data_ptr() == theirs.data_ptr() == back.data_ptr()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_capsules(oracle, name, version):
    """A capsule of either kind, used once; what it lends lives on when the lender is gone."""
    own = gc.arange(4).to(getattr(gc, name))
    theirs = oracle.from_dlpack(own.__dlpack__(max_version=version))
    capsule = theirs.__dlpack__(max_version=version)
    back = gc.from_dlpack(capsule)
    with pytest.raises(RuntimeError, match="from_dlpack received an invalid capsule. Note that DLTensor capsules can"):
        gc.from_dlpack(capsule)
    back += 1
    assert theirs.tolist() == [1, 2, 3, 4]
    del own, theirs, capsule
    collector.collect()
    assert back.tolist() == [1, 2, 3, 4]


def test_negative_strides(oracle):
    """PyTorch has none (and aborts): a copy is lent."""
    own = gc.from_numpy(np.arange(4.0)[::-1])
    assert oracle.from_dlpack(own).tolist() == [3.0, 2.0, 1.0, 0.0]
    with pytest.raises(BufferError, match="without copying"):
        own.__dlpack__(copy=False)


def test_the_older_names(oracle):
    x = gc.arange(3)
    assert gc.utils.dlpack.from_dlpack is from_dlpack is gc.from_dlpack
    oracle.utils.dlpack.from_dlpack(to_dlpack(x))[0] = 7
    assert from_dlpack(to_dlpack(x)).tolist() == [7, 1, 2]
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        to_dlpack([1])


# ---------------------------------------------------------------- DLPack in general
def test_dlpack_on_each_device(device):
    x = gc.arange(6.0, device=device).reshape(2, 3)
    assert x.__dlpack_device__() == (DLDeviceType.kDLCUDA if device == "cuda" else DLDeviceType.kDLCPU, 0)
    for dtype in (gc.float32, gc.bfloat16):
        one = x.to(dtype)
        for shared in (gc.from_dlpack(one), gc.from_dlpack(one.__dlpack__()), gc.from_dlpack(one, copy=False)):
            assert (shared.device, shared.dtype, shared.data_ptr()) == (one.device, dtype, one.data_ptr())
        assert gc.from_dlpack(one.T[1:]).tolist() == [[1.0, 4.0], [2.0, 5.0]]
        copied = gc.from_dlpack(one, copy=True)
        copied += 1
        assert one.tolist() == x.tolist()


def test_copies_to_another_device(device):
    other = {"cpu": "cuda", "cuda": "cpu"}[device]
    x = gc.arange(3.0, device=device)
    try:
        y = gc.from_dlpack(x, device=other)
    except RuntimeError as error:
        pytest.skip(str(error))
    assert (y.device.type, y.tolist()) == (other, [0.0, 1.0, 2.0])
    assert gc.from_dlpack(x.__dlpack__(dl_device=y.__dlpack_device__())).device == y.device
    with pytest.raises(ValueError, match="cannot move DLPack tensor from device .* without copying"):
        gc.from_dlpack(x, device=other, copy=False)
    with pytest.raises(BufferError, match="without copying"):
        x.__dlpack__(dl_device=y.__dlpack_device__(), copy=False)


@pytest.mark.parametrize("known", [(), ("max_version",), ("max_version", "copy", "dl_device")])
def test_libraries_with_fewer_options(known):
    array = np.arange(3.0)
    lender = Lender(array, *known)
    x = gc.from_dlpack(lender)
    x += 1  # the first kind of capsule does not say that it may be written to; PyTorch takes it that it may
    assert array.tolist() == [1.0, 2.0, 3.0]
    assert lender.asked[0] == {"max_version": (1, 0)} and lender.asked[-1] == {k: (1, 0) for k in known[:1]}


def test_read_only():
    array = np.arange(3.0)
    array.flags.writeable = False
    x = gc.from_dlpack(array)
    with pytest.raises(ValueError, match="read-only"):
        x += 1
    assert (x + 1).tolist() == [1.0, 2.0, 3.0]
    assert not np.from_dlpack(x).flags.writeable
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        with pytest.raises(BufferError, match="readonly"):
            x.__dlpack__()  # below version 1 there is no way to say so


def test_refusals(oracle):
    leaf = gc.zeros(2, requires_grad=True)
    for lend in (leaf.__dlpack__, (leaf * 2).__dlpack__, lambda: oracle.from_dlpack(leaf)):
        with pytest.raises(BufferError, match="Can't export tensors that require gradient, use tensor.detach()"):
            lend()
    assert oracle.from_dlpack(leaf.detach()).tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="stream must be ``int`` or ``none``"):
        gc.zeros(2).__dlpack__(stream="1")
    with pytest.raises(AssertionError, match="stream should be None on cpu"):
        gc.zeros(2).__dlpack__(stream=1)
    with pytest.raises(RuntimeError, match="received an invalid capsule"):
        gc.from_dlpack(3)
    with pytest.raises(AssertionError, match="not supported when ext_tensor is already a DLPack capsule"):
        gc.from_dlpack(gc.zeros(2).__dlpack__(), copy=True)
    with pytest.raises(TypeError, match="can't convert np.ndarray of type complex64"):
        gc.from_dlpack(oracle.zeros(2, dtype=oracle.complex64))
    with pytest.raises(BufferError, match="DLPack's device type 8 is not supported"):
        gc.zeros(2).__dlpack__(dl_device=(8, 0))


def test_jax():
    jnp = pytest.importorskip("jax.numpy")
    x = gc.arange(6.0).reshape(2, 3)
    assert (jnp.from_dlpack(x) == jnp.asarray(x)).all() and jnp.asarray(x).shape == (2, 3)
    y = gc.from_dlpack(jnp.arange(3.0))
    assert (y * 2).tolist() == [0.0, 2.0, 4.0]
    assert gc.from_dlpack(jnp.ones(2, jnp.bfloat16)).dtype is gc.bfloat16


# ---------------------------------------------------------------- tensors of arrays of other libraries
def test_arrays_of_other_libraries(oracle):
    theirs = oracle.arange(3)
    shared = gc.as_tensor(theirs)
    shared += 1
    assert theirs.tolist() == [1, 2, 3] and gc.asarray(theirs).data_ptr() == theirs.data_ptr()
    for copied in (gc.tensor(theirs), gc.asarray(theirs, copy=True), gc.as_tensor(theirs, dtype=gc.float32)):
        copied += 1
    assert theirs.tolist() == [1, 2, 3]
    assert gc.tensor(theirs, dtype=gc.float64, requires_grad=True).requires_grad


@CUDA
def test_arrays_of_cupy(device):
    xp = xp_of(device)
    array = xp.arange(3.0)
    x = gc.as_tensor(array)
    x += 1
    assert array.get().tolist() == [1.0, 2.0, 3.0] and str(x.device) == "cuda:0"
    assert gc.tensor(array).data_ptr() != x.data_ptr() == gc.asarray(array, copy=False).data_ptr()


def test_asarray(oracle):
    x = gc.arange(3.0)
    assert gc.asarray(x) is x and gc.asarray(x, copy=True) is not x
    assert gc.asarray([1, 2]).dtype is gc.int64 and gc.asarray(2.5, dtype=gc.float64).dtype is gc.float64
    assert gc.asarray([1.0], requires_grad=True).requires_grad
    array = np.arange(3)
    assert np.shares_memory(gc.asarray(array, copy=False).numpy(), array)
    for library in (gc, oracle):
        with pytest.raises(ValueError, match="can't alias arbitrary sequence into a tensor."):
            library.asarray([1, 2], copy=False)
        with pytest.raises(ValueError, match="can't alias tensor with dtype .* into dtype"):
            library.asarray(library.ones(2), dtype=library.float64, copy=False)


# ---------------------------------------------------------------- NumPy and the CUDA array interface
def test_numpy_asarray():
    x = gc.arange(6.0).reshape(2, 3)
    array = np.asarray(x)
    array[0, 0] = 5.0
    assert x[0, 0] == 5.0 and np.from_dlpack(x).ctypes.data == x.data_ptr() == array.ctypes.data
    assert np.asarray(x, np.float64).dtype == np.float64 and not np.shares_memory(np.array(x), array)
    assert np.asarray(x.bfloat16()).dtype == ml_dtypes.bfloat16
    with pytest.raises(RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        np.asarray(x.clone().requires_grad_())


def test_cuda_array_interface(device):
    x = gc.arange(6.0, device=device).reshape(2, 3)
    protocols = ("__cuda_array_interface__", "__cupy_get_ndarray__")
    if device == "cpu":
        for name in protocols:
            assert not hasattr(x, name)
            with pytest.raises(AttributeError, match=f"Can't get {name} on non-CUDA tensor type: gradcore.FloatTensor"):
                getattr(x, name)
        return
    described = x.T.__cuda_array_interface__
    assert (described["shape"], described["strides"]) == ((3, 2), (4, 12))
    assert (described["typestr"], described["data"]) == ("<f4", (x.data_ptr(), False))
    for name in protocols:
        with pytest.raises(RuntimeError, match=f"Can't get {name} on Variable that requires grad"):
            getattr(x.clone().requires_grad_(), name)
    with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy"):
        np.asarray(x)


@CUDA
@pytest.mark.parametrize("dtype", [gc.float32, gc.bfloat16, gc.int64, gc.bool], ids=lambda d: d.name)
def test_cupy_asarray(device, dtype):
    xp = xp_of(device)
    x = gc.arange(6, device=device).reshape(2, 3).T.to(dtype)
    for array in (xp.asarray(x), xp.from_dlpack(x)):
        assert (array.dtype, array.shape, array.data.ptr) == (dtype.numpy, (3, 2), x.data_ptr())
        assert array.get().tolist() == x.tolist()
    array[0, 0] = 1
    assert x[0, 0].item() == 1
    del x
    collector.collect()
    assert array.get()[1, 1]


# ---------------------------------------------------------------- einops
def test_einops(device, oracle):
    einops = pytest.importorskip("einops")
    values = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    uses = {
        "rearrange": lambda t: einops.rearrange(t, "a b c -> (a c) b"),
        "rearrange a list": lambda t: einops.rearrange([t, t * 2], "n a b c -> a (n b) c"),
        **{
            name: lambda t, name=name: einops.reduce(t, "a (b 3) c -> c b", name)
            for name in ("sum", "mean", "prod", "max", "min")
        },
        "repeat": lambda t: einops.repeat(t, "a b c -> a 2 c (b 3)"),
        "einsum": lambda t: einops.einsum(t, t, "a b c, a d c -> a b d"),
        "pack": lambda t: einops.pack([t, t[:, 0]], "a * c")[0],
        "unpack": lambda t: einops.unpack(t, [[2], []], "a * c")[0],
    }
    for name, use in uses.items():
        own = gc.tensor(values, device=device, requires_grad=True)
        theirs = oracle.tensor(values, requires_grad=True)
        result, expected = use(own), use(theirs)
        (result * result).sum().backward()
        (expected * expected).sum().backward()
        np.testing.assert_allclose(result.numpy(force=True), expected.detach().numpy(), 1e-5, 1e-6, err_msg=name)
        np.testing.assert_allclose(own.grad.cpu().numpy(), theirs.grad.numpy(), 1e-5, 1e-5, err_msg=name)
    flags = gc.tensor(values > 0, device=device)
    assert einops.reduce(flags, "a b c -> a", "any").tolist() == [True, True]
    assert einops.asnumpy(flags).tolist() == (values > 0).tolist()
    assert einops.parse_shape(flags, "a _ c") == {"a": 2, "c": 4}
    with pytest.raises(einops.EinopsError):
        einops.rearrange(flags, "a b -> b a")


@pytest.mark.parametrize("order", ["einops, gradcore", "gradcore, einops"])
def test_einops_whenever_it_is_imported(order):
    pytest.importorskip("einops")
    code = f"""
import sys
import {order.split(", ")[0]}
assert ("einops" in sys.modules) == ("gradcore" not in sys.modules)
import {order.split(", ")[1]}
assert einops.rearrange(gradcore.arange(6), "(a b) -> b a", a=2).tolist() == [[0, 3], [1, 4], [2, 5]]
assert not [f for f in sys.meta_path if type(f).__module__.startswith("gradcore")]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
