"""`gradcore.save` and `gradcore.load`: what comes back, where it comes back, and what a failure leaves."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import random
import stat
import sys
import threading
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradcore as gc
from gradcore import nn
from gradcore.serialization import LoadError

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def round_trip(value: Any, **options: Any) -> Any:
    file = io.BytesIO()
    gc.save(value, file)
    file.seek(0)
    return gc.load(file, **options)


def assert_same(a: Any, b: Any) -> None:
    """Equal in value, bit by bit, and in type, at every depth."""
    assert type(a) is type(b)
    if isinstance(a, gc.Tensor):
        assert (a.dtype, a.shape, a.device, a.requires_grad) == (b.dtype, b.shape, b.device, b.requires_grad)
        assert a.stride() == b.stride() and a.is_leaf
        assert a.detach().cpu().numpy().tobytes() == b.detach().cpu().numpy().tobytes()
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape) and a.tobytes() == b.tobytes() and a.flags.writeable
    elif isinstance(a, np.generic):
        assert a.dtype == b.dtype and a.tobytes() == b.tobytes()
    elif isinstance(a, dict):
        assert len(a) == len(b)
        for pair, other in zip(a.items(), b.items()):
            assert_same(pair, other)
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for v, w in zip(a, b):
            assert_same(v, w)
    else:
        assert repr(a) == repr(b) if isinstance(a, (float, complex)) else a == b


# ---------------------------------------------------------------- what comes back
PLAIN = {
    "nothing": None,
    "booleans": [True, False],
    "numbers": [0, -1, 2**63, -(2**64), 10**400, 1.0, -0.0, 1e300, 5e-324],
    "not finite": [float("nan"), float("inf"), -float("inf")],
    "complex": [1 - 2j, complex(float("nan"), -0.0)],
    "text": ["", "a\u0000b", "\ud800", "\N{SNOWMAN}", '"$tuple"'],
    "bytes": [b"", b"\x00\xff", bytearray(b"abc")],
    "tuples": ((), (1,), (1, (2, [3]))),
    "sets": [set(), {1, "a"}, frozenset([(1, 2)])],
    "keys": {1: "int", "1": "str", None: 0, 2.5: 0, (1, "a"): 0, True is False: 0, b"b": 0},
    "marked": {"$tuple": [1], "$": 2, "plain": {"$x": {}}},
    "kinds of dictionaries": [OrderedDict([("b", 1), ("a", 2)]), Counter("abca"), {}, OrderedDict()],
    "ours": [gc.float32, gc.bfloat16, gc.bool, gc.device("cuda:1"), gc.device("cpu"), gc.Size([2, 3])],
    "numpy's numbers": [np.float32(0.1), np.float64("nan"), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)],
    "numpy's other numbers": [np.complex64(1j), np.datetime64("2020-02-29"), np.str_("a"), np.bytes_(b"b")],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_values(name: str) -> None:
    assert_same(round_trip(PLAIN[name]), PLAIN[name])


def test_states_of_other_generators() -> None:
    states = [random.getstate(), np.random.get_state(), np.random.default_rng(3).bit_generator.state]
    states.append(np.random.Generator(np.random.MT19937(5)).bit_generator.state)
    assert_same(round_trip(states), states)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (7,), (2, 3, 4)])
def test_tensors(dtype: str, shape: tuple[int, ...], device: str) -> None:
    x = gc.randint(0, 2 if dtype == "bool" else 100, shape, device=device).to(getattr(gc, dtype))
    (found,) = round_trip([x])
    assert_same(found, x)
    found += 0 if dtype != "bool" else False  # it can be written to


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x.reshape(1, 2, 3, 4).to(memory_format=gc.channels_last),
        lambda x: x.reshape(2, 3, 4).permute(2, 0, 1),
    ],
)
def test_the_order_of_dimensions_in_memory_is_kept(view: Any, device: str) -> None:
    x = gc.arange(24.0, device=device).reshape(4, 6)
    (found,) = round_trip([view(x)])
    assert_same(found, view(x))


@pytest.mark.parametrize(
    "view", [lambda x: x[:, ::2], lambda x: x[0].expand(3, 6), lambda x: x.flip(1), lambda x: x[1:]]
)
def test_other_views_are_saved_as_what_they_show(view: Any) -> None:
    x = gc.arange(24.0).reshape(4, 6)
    file = io.BytesIO()
    gc.save(view(x), file)
    assert file.tell() < 300 + 4 * view(x).numel()
    found = round_trip(view(x))
    assert found.is_contiguous() and found.tolist() == view(x).tolist()


def test_big_endian_arrays() -> None:
    x = np.arange(6, dtype=">f4").reshape(2, 3)
    assert_same(round_trip(x), x)


@pytest.mark.parametrize(
    "array",
    [
        np.array(["ab", "", "\N{SNOWMAN}"]),
        np.array([b"ab", b"c"]),
        np.array(["2020-02-29", "NaT"], "M8[h]"),
        np.array([[1, 2]], "m8[3ms]"),
        np.zeros((2, 0), "c16"),
        np.arange(3, dtype=np.uint16),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(3),
        np.arange(10)[::3],
        np.array([True, False]),
    ],
)
def test_arrays(array: np.ndarray) -> None:
    found = round_trip({"x": array})["x"]
    assert_same(found, array)
    assert found.flags.f_contiguous == array.flags.f_contiguous or array.strides[0] != array.itemsize


def test_parameters_buffers_and_attributes() -> None:
    w = nn.Parameter(gc.ones(2, 3))
    w.group, w.history = "slow", [gc.zeros(2), (1, 2)]
    frozen = nn.Parameter(gc.tensor([1, 2]), requires_grad=False)
    buffer = nn.Buffer(gc.zeros(3), persistent=False)
    x = gc.randn(3, requires_grad=True)
    found = round_trip([w, frozen, buffer, x, x * 2])
    for a, b in zip(found, [w, frozen, buffer, x]):
        assert_same(a, b)
    assert found[0].group == "slow" and found[0].history[1] == (1, 2)
    assert found[2].persistent is False
    assert found[4].requires_grad and found[4].is_leaf  # as in PyTorch


def test_what_is_the_same_stays_the_same() -> None:
    w = nn.Parameter(gc.randn(3, 2))
    array = np.arange(3)
    saved = {"one": w, "two": w, "state": {"a": w.detach(), "b": w.data}, "x": array, "y": array}
    file = io.BytesIO()
    gc.save(saved, file)
    assert file.tell() < 700
    file.seek(0)
    found = gc.load(file)
    assert found["one"] is found["two"] and found["x"] is found["y"]
    with gc.no_grad():
        found["one"].fill_(3.0)
    assert found["state"]["a"].tolist() == found["state"]["b"].tolist() == [[3.0, 3.0]] * 3
    assert found["state"]["a"] is not found["state"]["b"]


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
            self.second.weight = self.first.weight

    state = round_trip(Tied().state_dict())
    assert state["first.weight"].data_ptr() == state["second.weight"].data_ptr()
    assert type(state) is OrderedDict


finite = st.floats(allow_nan=True, allow_infinity=True)
scalars = st.none() | st.booleans() | st.integers() | finite | st.text(st.characters(codec=None)) | st.binary()
keys = st.text() | st.integers() | st.tuples(st.integers(), st.text()) | st.none() | st.booleans()
numpys = hnp.arrays(
    st.sampled_from(["f4", ">f8", "i2", "u8", "?", "c8", "U3", "M8[s]", "f2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
tensors = hnp.arrays(
    st.sampled_from(["f4", "f8", "i8", "u1", "?", "f2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
).map(gc.from_numpy)
values = st.recursive(
    scalars | numpys | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
        | st.dictionaries(st.text(), inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(values)
def test_any_structure(value: Any) -> None:
    assert_same(round_trip(value), value)


# ---------------------------------------------------------------- what is refused
Point = namedtuple("Point", "x y")
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: Any = 1
for _ in range(70):
    DEEP = (DEEP,)


@pytest.mark.parametrize(
    "value, error, text",
    [
        ({"a": [1, Point(1, 2)]}, TypeError, r"obj\['a'\]\[1\] is of type .*Point, which cannot be saved.*_asdict"),
        (nn.Linear(2, 2), TypeError, r"obj is of type gradcore.nn.*Linear.*Save its state: obj.state_dict\(\)"),
        ({"f": print}, TypeError, r"obj\['f'\] is of type builtins.builtin_function_or_method"),
        ({Path("a"): 1}, TypeError, r"the key .*Path"),
        (np.array([None]), TypeError, r"not object"),
        (np.zeros(2, [("a", "f4")]), TypeError, r"NumPy, numbers, dates and text"),
        (type("Mine", (dict,), {})(a=1), TypeError, r"Mine.*Save dict\(obj\)"),
        (type("Mine", (gc.Tensor,), {})(2), TypeError, r"Mine.*detach"),
        (CYCLE, ValueError, "more than 64 containers in each other, or one that contains itself"),
        (DEEP, ValueError, "more than 64 containers"),
    ],
)
def test_what_cannot_be_saved(value: Any, error: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=text):
        gc.save(value, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_an_attribute_that_holds_its_tensor() -> None:
    x = gc.ones(2)
    x.me = [x]
    with pytest.raises(ValueError, match="contains itself"):
        gc.save(x, io.BytesIO())


def test_arguments(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="expected 'f' to be string, path, or a file-like object with a 'write'"):
        gc.save({}, 3)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match="'int' object has no attribute 'seek'. You can only gradcore.load from"):
        gc.load(3)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"Parent directory .*nowhere does not exist\."):
        gc.save({}, tmp_path / "nowhere" / "file")
    with pytest.raises(FileNotFoundError):
        gc.load(tmp_path / "file")
    with pytest.raises(ValueError, match="f must be a file path in order to use the mmap argument"):
        gc.load(io.BytesIO(), mmap=True)
    with pytest.raises(IsADirectoryError):
        gc.load(tmp_path)
    gc.save({"a": gc.ones(2)}, str(tmp_path / "file"))
    for options in ({}, {"weights_only": True}, {"weights_only": False}, {"mmap": True}):
        assert gc.load(str(tmp_path / "file"), **options)["a"].tolist() == [1, 1]


def test_a_file_from_where_it_stands() -> None:
    file = io.BytesIO()
    file.write(b"before")
    gc.save([gc.ones(2)], file)
    file.seek(6)
    assert gc.load(file)[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    "start, text",
    [
        (b"", "it is empty"),
        (b"hello, this is text", "neither safetensors nor PyTorch's: it begins with b'hello, this "),
        (b"\x93NUMPY\x01\x00", "array of NumPy's"),
        (b"\x80\x04\x95....", "it is a pickle, which can run code"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"GGUF\x03", "GGUF"),
    ],
)
def test_other_formats(start: bytes, text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(start)
    with pytest.raises(LoadError, match=text) as failure:
        gc.load(tmp_path / "file")
    assert str(failure.value).startswith(f"cannot load {tmp_path / 'file'}: ")


def test_a_later_version() -> None:
    from gradcore.utils.safetensors import save

    text = json.dumps({"version": 2, "value": 1})
    with pytest.raises(LoadError, match="its structure is of version 2; this gradcore reads version 1"):
        gc.load(io.BytesIO(save({}, {"gradcore": text})))


# ---------------------------------------------------------------- where it comes back
def test_devices(device: str) -> None:
    x = gc.randn(3, device=device)
    assert round_trip([x])[0].device == x.device
    assert round_trip([x], map_location="cpu")[0].device.type == "cpu"
    assert round_trip([x], map_location=gc.device(device))[0].device == x.device
    assert round_trip([x], map_location={str(x.device): "cpu"})[0].device.type == "cpu"
    assert round_trip([x], map_location={"elsewhere": "cpu"})[0].device == x.device

    seen = []

    def where(tensor: gc.Tensor, location: str) -> Any:
        seen.append((tensor.device.type, location))
        return tensor.to(device) if len(seen) == 1 else None

    a, b = round_trip([x, x + 1], map_location=where)
    assert a.device == b.device == x.device and seen == [("cpu", str(x.device))] * 2
    assert a.tolist() == x.tolist()


def test_devices_that_are_none() -> None:
    with pytest.raises(TypeError, match="map_location must be a device, dictionary, function or None, not int"):
        round_trip([gc.ones(1)], map_location=3)
    with pytest.raises(TypeError, match="map_location must return the tensor it is given"):
        round_trip([gc.ones(1)], map_location=lambda tensor, location: 3)
    with pytest.raises(ZeroDivisionError):
        round_trip([gc.ones(1)], map_location=lambda tensor, location: 1 / 0)
    with pytest.raises(LoadError, match="don't know how to restore data location .tagged with mars."):
        round_trip([gc.ones(1)], map_location={"cpu": "mars"})
    with pytest.raises(
        LoadError, match="Attempting to deserialize object on (CUDA device 99|a CUDA device) but gradcore.cuda"
    ):
        round_trip([gc.ones(1)], map_location="cuda:99")


def test_mapped_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    saved = {
        "a": gc.arange(1000.0),
        "b": gc.tensor([True, False, True]),
        "c": gc.arange(3).to(gc.int16),
        "z": gc.ones(0),
    }
    gc.save(saved, path)
    before = path.read_bytes()
    found = gc.load(path, mmap=True)
    assert_same(found, saved)
    found["a"].fill_(7.0)
    assert path.read_bytes() == before
    gc.save({"a": gc.zeros(5)}, path)  # what was mapped stays, also when the file is replaced
    assert found["c"].tolist() == [0, 1, 2]


# ---------------------------------------------------------------- how it is written
def test_a_failure_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    gc.save({"a": gc.ones(3)}, path)
    before = path.read_bytes()

    class Full(io.FileIO):
        left = 5000

        def write(self, data: Any) -> int:
            Full.left -= len(data)
            if Full.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)  # type: ignore[no-any-return]

    real = builtins.open

    def opened(name: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        return (
            io.BufferedWriter(Full(name, mode.replace("b", ""))) if "x" in mode else real(name, mode, *rest, **options)
        )

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", opened)
        with pytest.raises(OSError, match="No space left"):
            gc.save({"a": gc.zeros(10000)}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                gc.save({"a": gc.zeros(10)}, path)
        assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_the_data_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, done = tmp_path / "file", []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(stat.S_IFMT(os.fstat(fd).st_mode)), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(Path(a).stat().st_size), replace(a, b)))
    gc.save({"a": gc.ones(1000)}, path)
    folder = [] if os.name == "nt" else [stat.S_IFDIR]
    assert done == [stat.S_IFREG, path.stat().st_size, *folder]


@pytest.mark.skipif(os.name == "nt", reason="links and permissions of POSIX")
def test_links_and_permissions(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    gc.save([1], real)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~umask
    real.chmod(0o640)
    link.symlink_to(real)
    gc.save([2], link)
    assert link.is_symlink() and gc.load(real) == [2] and stat.S_IMODE(real.stat().st_mode) == 0o640


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=gc.save, args=([gc.ones(3)], tmp_path / "pipe"))
    writer.start()
    data = (tmp_path / "pipe").read_bytes()
    writer.join()
    assert gc.load(io.BytesIO(data))[0].tolist() == [1, 1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of POSIX")
def test_what_killed_writers_left_is_removed(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "file"
    stale, live, foreign = (tmp_path / f".file.{name}.tmp" for name in ("0123456789ab", "ba9876543210", "backup"))
    for name in (stale, live, foreign):
        name.write_bytes(b"half")
    with open(live, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        gc.save([1], path)
        assert set(tmp_path.iterdir()) == {path, live, foreign}


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    path, errors = tmp_path / "file", []

    def write(number: int) -> None:
        try:
            for _ in range(20):
                gc.save({"n": gc.full((1000,), float(number))}, path)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    gc.save({"n": gc.zeros(1000)}, path)
    for _ in range(20):
        assert len(set(gc.load(path)["n"].tolist())) == 1
    for thread in threads:
        thread.join()
    assert not errors and list(tmp_path.iterdir()) == [path]


# ---------------------------------------------------------------- training states
@pytest.mark.parametrize(
    "make",
    [
        lambda p: gc.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: gc.optim.Adam(p, lr=0.1, amsgrad=True),
        lambda p: gc.optim.AdamW([{"params": [x], "lr": 0.1 * i} for i, x in enumerate(p)]),
        lambda p: gc.optim.LBFGS(p, max_iter=2),
    ],
)
def test_optimizers(make: Any, device: str) -> None:
    def losses(steps: int, state: Any = None) -> tuple[list[float], Any]:
        gc.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to(device)
        optimizer = make(list(model.parameters()))
        if state is not None:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        x = gc.ones(5, 3, device=device)
        found = []

        def closure() -> gc.Tensor:
            optimizer.zero_grad()
            loss = ((model(x) - 1) ** 2).mean()
            loss.backward()
            return loss

        for _ in range(steps):
            found.append(optimizer.step(closure).item())
        return found, {"model": model.state_dict(), "optimizer": optimizer.state_dict()}

    whole, _ = losses(6)
    first, state = losses(3)
    second, _ = losses(3, round_trip(state))
    assert first + second == whole


@pytest.mark.parametrize(
    "make",
    [
        lambda o: gc.optim.lr_scheduler.StepLR(o, 2),
        lambda o: gc.optim.lr_scheduler.MultiStepLR(o, [1, 3]),
        lambda o: gc.optim.lr_scheduler.CosineAnnealingLR(o, 7),
        lambda o: gc.optim.lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    ],
)
def test_schedulers(make: Any) -> None:
    def rates(steps: int, state: Any = None) -> tuple[list[float], Any]:
        optimizer = gc.optim.SGD([gc.zeros(1, requires_grad=True)], lr=1.0)
        scheduler = make(optimizer)
        if state is not None:
            optimizer.load_state_dict(state[0])
            scheduler.load_state_dict(state[1])
        found = []
        for _ in range(steps):
            optimizer.step()
            scheduler.step()
            found.append(scheduler.get_last_lr()[0])
        return found, [optimizer.state_dict(), scheduler.state_dict()]

    first, state = rates(3)
    found = round_trip(state)
    assert_same(found, state)
    assert first + rates(3, found)[0] == rates(6)[0]


def test_random_states(device: str) -> None:
    own = gc.Generator().manual_seed(5)
    gc.rand(3, generator=own, device=device)
    saved = round_trip({"all": gc.get_rng_state(), "own": own.get_state(), "cuda": gc.cuda.get_rng_state_all()})
    expected = [gc.rand(3, device=device).tolist(), gc.rand(3, generator=own, device=device).tolist()]
    for restore in (lambda: gc.set_rng_state(saved["all"]), lambda: gc.cuda.set_rng_state_all(saved["cuda"])):
        restore()
        own.set_state(saved["own"].to(device))
        assert [gc.rand(3, device=device).tolist(), gc.rand(3, generator=own, device=device).tolist()] == expected


def test_random_states_that_are_none() -> None:
    state = gc.get_rng_state()
    for wrong, error in ((gc.zeros(2), TypeError), (gc.zeros(3, dtype=gc.int64), RuntimeError), (None, TypeError)):
        with pytest.raises(error, match="expected a Tensor from get_state"):
            gc.set_rng_state(wrong)  # type: ignore[arg-type]
    assert gc.get_rng_state().tolist() == state.tolist()
