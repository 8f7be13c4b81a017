"""Files that PyTorch saved: what is read of them, and what is refused (of those that mean harm: test_hostile_files)."""

from __future__ import annotations

import io
import os
import pickle
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.serialization import LoadError

torch = pytest.importorskip("torch")


def saved(value: Any, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    torch.save(value, file, **options)
    file.seek(0)
    return file


def through(value: Any, **options: Any) -> Any:
    return gc.load(saved(value, **options))


def assert_like(ours: Any, theirs: Any) -> None:
    assert isinstance(ours, gc.Tensor)
    assert str(ours.dtype) == str(theirs.dtype).replace("torch", "gradcore")
    assert (tuple(ours.shape), ours.stride()) == (tuple(theirs.shape), theirs.stride())
    assert (ours.requires_grad, ours.tolist()) == (theirs.requires_grad, theirs.tolist())


@pytest.mark.parametrize("dtype", "bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64".split())
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3, 4)])
def test_tensors(dtype: str, shape: tuple[int, ...]) -> None:
    x = torch.testing.make_tensor(shape, dtype=getattr(torch, dtype), device="cpu")
    assert_like(through([x])[0], x)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.t(),
        lambda x: x[1:, ::2],
        lambda x: x[2].expand(3, 6),
        lambda x: x.diagonal(),
        lambda x: x.unfold(1, 3, 1),
        lambda x: x.view(1, 2, 3, 4).to(memory_format=torch.channels_last),
        lambda x: x.as_strided((2, 2, 2), (7, 1, 1), 3),
    ],
)
def test_views(view: Any) -> None:
    x = torch.arange(24.0).reshape(4, 6)
    assert_like(through(view(x)), view(x))


def test_what_shares_memory_does_so_again(device: str) -> None:
    x = torch.arange(12.0).reshape(3, 4)
    file = saved({"x": x, "row": x[1], "t": x.t(), "same": x})
    found = gc.load(file, map_location=device)
    assert found["x"] is found["same"] and found["x"].device.type == device
    found["row"].fill_(-1.0)
    assert found["x"].tolist() == [[0, 1, 2, 3], [-1] * 4, [8, 9, 10, 11]] and found["t"][2].tolist() == [2, -1, 10]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_values(protocol: int) -> None:
    values = {
        "none": None,
        "booleans": (True, False),
        "numbers": [0, 255, -1, 65536, 2**31, -(2**63), 10**50, 1.5, float("inf"), 1 - 2j],
        "text": ["", "a", "\N{SNOWMAN}" * 300],
        "bytes": [b"", b"\x00\xff", b"a" * 300, bytearray(b"abc")],
        "containers": [[], {}, (), set(), {1, (2, "a")}, [[1], (2, 3), (1, 2, 3, 4)], {1: {"a": None}, (1, 2): 3}],
        "dictionaries": [OrderedDict([("b", 1), ("a", 2)]), Counter("abca")],
    }
    if protocol >= 4:
        values["frozen"] = frozenset([1, 2])
    found = through(values, pickle_protocol=protocol)
    assert repr(found) == repr(values)
    ours = through([torch.float16, torch.bool, torch.device("cuda:1"), torch.Size([2, 3]), torch.strided])
    assert ours == [gc.float16, gc.bool, gc.device("cuda:1"), gc.Size([2, 3]), gc.strided]


def test_parameters_buffers_and_attributes() -> None:
    w, plain = torch.nn.Parameter(torch.randn(2)), torch.ones(3, requires_grad=True)
    tagged, x = torch.nn.Parameter(torch.randn(2), requires_grad=False), torch.zeros(2)
    tagged.group, x.note = "slow", [1]
    found = through([w, plain, tagged, x, torch.nn.Buffer(torch.ones(2), persistent=False)])
    kinds = [gc.nn.Parameter, gc.Tensor, gc.nn.Parameter, gc.Tensor, gc.nn.Buffer]
    assert [type(tensor) for tensor in found] == kinds
    for ours, theirs in zip(found, [w, plain, tagged, x]):
        assert_like(ours, theirs)
    assert found[2].group == "slow" and found[3].note == [1] and found[4].persistent is False


def test_a_model_goes_on_where_pytorch_left_it(tmp_path: Path) -> None:
    """Model and optimizer of a PyTorch run; the next steps are the same."""

    def run(m: Any, model: Any, optimizer: Any, steps: int) -> list[float]:
        x = m.linspace(-1, 1, 12, dtype=m.float64).reshape(4, 3)
        found = []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = ((model(x) - 1) ** 2).mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    def make(m: Any) -> tuple[Any, Any]:
        model = m.nn.Sequential(m.nn.Linear(3, 5), m.nn.Tanh(), m.nn.Linear(5, 1)).double()
        return model, m.optim.AdamW(model.parameters(), lr=0.01)

    theirs, their_optimizer = make(torch)
    run(torch, theirs, their_optimizer, 3)
    torch.save(
        {"model": theirs.state_dict(), "optimizer": their_optimizer.state_dict(), "epoch": 3}, tmp_path / "last.pt"
    )
    ours, optimizer = make(gc)
    checkpoint = gc.load(tmp_path / "last.pt")
    ours.load_state_dict(checkpoint["model"])
    optimizer.load_state_dict(checkpoint["optimizer"])
    assert checkpoint["epoch"] == 3 and checkpoint["model"]._metadata[""] == {"version": 1}
    expected = run(torch, theirs, their_optimizer, 4)
    np.testing.assert_allclose(run(gc, ours, optimizer, 4), expected, rtol=1e-12)


@pytest.mark.parametrize("mapped", [False, True])
def test_paths_and_maps(mapped: bool, tmp_path: Path) -> None:
    x = torch.randn(100, 3)
    torch.save({"x": x, "y": x[:, 1].bool()}, tmp_path / "file.pt")
    before = (tmp_path / "file.pt").read_bytes()
    found = gc.load(tmp_path / "file.pt", mmap=mapped)
    assert_like(found["x"], x)
    found["x"].zero_()
    assert (tmp_path / "file.pt").read_bytes() == before


def test_devices(device: str) -> None:
    file = saved([torch.ones(2)])
    seen = []

    def where(storage: gc.Tensor, location: str) -> None:
        seen.append((storage.tolist(), location))

    for location in (device, gc.device(device), {"cpu": device}, lambda storage, location: storage.to(device)):
        file.seek(0)
        assert gc.load(file, map_location=location)[0].device.type == device
    file.seek(0)
    assert gc.load(file, map_location=where)[0].device.type == "cpu" and seen == [([1, 1], "cpu")]
    with pytest.raises(TypeError, match="map_location must be a device"):
        gc.load(saved([torch.ones(2)]), map_location=3)  # type: ignore[arg-type]


def test_the_other_byte_order() -> None:
    file = saved([torch.tensor([1.5, -2.0]), torch.tensor([1, 300]), torch.tensor([1.0], dtype=torch.bfloat16)])
    data = file.getvalue()
    swapped = data.replace(b"little", b"big\0\0\0")  # keeps the places; the record then has the wrong name
    with pytest.raises(LoadError, match="its checksum is another"):
        gc.load(io.BytesIO(swapped))

    import zipfile

    other = io.BytesIO()
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(other, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("byteorder"):
                content = b"big"
            elif "/data/" in name:
                size = {"0": 4, "1": 8, "2": 2}[name[-1]]
                content = np.frombuffer(content, f"u{size}").byteswap().tobytes()
            target.writestr(name, content)
    other.seek(0)
    assert torch.load(other)[1].tolist() == [1, 300]
    other.seek(0)
    assert [x.tolist() for x in gc.load(other)] == [[1.5, -2.0], [1, 300], [1.0]]


def test_files_without_checksums() -> None:
    torch.serialization.set_crc32_options(False)
    try:
        assert through([torch.ones(2)])[0].tolist() == [1, 1]
    finally:
        torch.serialization.set_crc32_options(True)


# ---------------------------------------------------------------- what is refused
class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("exit 3",)


@pytest.mark.parametrize(
    "value, text",
    [
        (torch.nn.Linear(2, 2), r"asks for 'torch.nn.modules.linear.Linear', which is refused.*model.state_dict\(\)"),
        ({"a": Runs()}, "asks for '(posix|nt).system', which is refused"),
        (np.ones(2), "asks for 'numpy.*_reconstruct', which is refused"),
        (torch.ones(2, dtype=torch.complex64), "a kind of tensor that gradcore has not: torch.ComplexFloatStorage"),
        (torch.ones(2, dtype=torch.uint16), "a kind of tensor that gradcore has not: torch._utils._rebuild_tensor_v3"),
        (torch.eye(2).to_sparse(), "a kind of tensor that gradcore has not: torch._utils._rebuild_sparse_tensor"),
        (torch.ones(2, device="meta"), "a kind of tensor that gradcore has not: torch._utils._rebuild_meta_tensor"),
    ],
    ids=["model", "code", "numpy", "complex", "uint16", "sparse", "meta"],
)
def test_refused(value: Any, text: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match=text) as failure:
        through(value)
    assert isinstance(failure.value, LoadError)


def test_other_files_of_pytorch() -> None:
    with pytest.raises(LoadError, match="in the format of PyTorch before version 1.6"):
        through({"a": 1}, _use_new_zipfile_serialization=False)
    script = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    script.seek(0)
    with pytest.raises(LoadError, match="a TorchScript archive, which holds a program"):
        gc.load(script)
    arrays = io.BytesIO()
    np.savez(arrays, a=np.ones(2))
    arrays.seek(0)
    with pytest.raises(LoadError, match="an archive of NumPy's"):
        gc.load(arrays)
