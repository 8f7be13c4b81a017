"""`gradcore.utils.safetensors`, alone and beside the `safetensors` package."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import gradcore as gc
from gradcore.utils.safetensors import SafetensorError, load, load_file, safe_open, save, save_file

TYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}


def some(dtype: str, shape: tuple[int, ...], device: str = "cpu") -> gc.Tensor:
    return gc.randint(0, 2 if dtype == "bool" else 100, shape, device=device).to(getattr(gc, dtype))


def everything(device: str = "cpu") -> dict[str, gc.Tensor]:
    """A tensor of each dtype, of odd sizes, so that careless offsets would not be aligned."""
    tensors = {dtype: some(dtype, (3, 5), device) for dtype in TYPES}
    x = gc.arange(24.0, device=device).reshape(4, 6)
    return {
        **tensors,
        "scalar": x[0, 0],
        "none": x[:0],
        "columns": x.t(),
        "steps": x[:, ::2],
        "expanded": x[0].expand(2, 6),
    }


def test_bytes(device: str) -> None:
    tensors = everything(device)
    found = load(save(tensors, {"k": "v"}), device)
    assert list(found) == list(tensors)
    for name, x in tensors.items():
        y = found[name]
        assert (y.dtype, y.shape, y.device, y.is_contiguous()) == (x.dtype, x.shape, x.device, True)
        assert y.tolist() == x.tolist()


def test_every_tensor_is_aligned() -> None:
    data = save(everything())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    sizes = {TYPES[name]: getattr(gc, name).itemsize for name in TYPES}
    assert all((8 + length + entry["data_offsets"][0]) % sizes[entry["dtype"]] == 0 for entry in header.values())


def test_parameters_are_saved_as_tensors(tmp_path: Path) -> None:
    model = gc.nn.Linear(3, 2)
    save_file(dict(model.named_parameters()), tmp_path / "file")
    found = load_file(tmp_path / "file")
    assert type(found["weight"]) is gc.Tensor and not found["weight"].requires_grad
    assert found["weight"].tolist() == model.weight.tolist()
    found["weight"].zero_()


def test_safe_open(tmp_path: Path, device: str) -> None:
    path = tmp_path / "file"
    tensors = everything()
    save_file(tensors, path, {"k": "v"})
    with safe_open(path, framework="pt", device=device) as file:
        assert file.metadata() == {"k": "v"} and file.keys() == list(tensors)
        for name, x in tensors.items():
            y = file.get_tensor(name)
            assert y.tolist() == x.tolist() and y.device.type == device
        part = file.get_slice("columns")
        assert part.get_shape() == [6, 4] and part.get_dtype() == "F32"
        assert part[1:3, ::2].tolist() == tensors["columns"][1:3, ::2].tolist() and part[2, 3].item() == 20.0
        with pytest.raises(SafetensorError, match="File does not contain tensor other"):
            file.get_tensor("other")
        y = file.get_tensor("float32")
        y.zero_()  # which the file does not see
        assert file.get_tensor("float32").tolist() == tensors["float32"].tolist()
    with pytest.raises(SafetensorError, match="the file is closed"):
        file.get_tensor("float32")
    with safe_open(path, "np") as file:
        assert type(file.get_tensor("int8")) is np.ndarray
    with pytest.raises(SafetensorError, match="framework must be 'pt' or 'np', not 'tf'"):
        safe_open(path, "tf")
    save_file({}, path)
    with safe_open(path) as file:
        assert file.metadata() is None and file.keys() == []


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "file"
    x = gc.ones(2)
    for tensors, metadata, error, text in (
        ({"a": 3}, None, TypeError, "'a' is of type int"),
        ({"a": np.ones(2)}, None, TypeError, "'a' is of type ndarray"),
        ({3: x}, None, TypeError, "names tensors by str, not int"),
        ({"__metadata__": x}, None, ValueError, "another use for the name"),
        ({"a": x}, {"k": 3}, TypeError, "metadata that maps str to str"),
    ):
        with pytest.raises(error, match=text):
            save_file(tensors, path, metadata)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_other_byte_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this machine had the other one: bytes are swapped when they are written, and when they are read."""
    data = save({"a": gc.tensor([1.5, -2.0]), "b": gc.tensor([1.0], dtype=gc.bfloat16)})
    monkeypatch.setattr(sys, "byteorder", "big")
    other = save({"a": gc.tensor([1.5, -2.0]), "b": gc.tensor([1.0], dtype=gc.bfloat16)})
    assert other[-10:] == data[-7:-11:-1] + data[-3:-7:-1] + data[-1:-3:-1]
    assert {name: x.tolist() for name, x in load(other).items()} == {"a": [1.5, -2.0], "b": [1.0]}


@pytest.mark.parametrize("dtype", ["U16", "U32", "U64", "C64"])
def test_types_that_tensors_have_not(dtype: str) -> None:
    size = 8 if dtype in ("U64", "C64") else int(dtype[1:]) // 8
    header = json.dumps({"a": {"dtype": dtype, "shape": [2], "data_offsets": [0, 2 * size]}}).encode()
    data = len(header).to_bytes(8, "little") + header + bytes(2 * size)
    with pytest.raises(SafetensorError, match="tensor 'a' is of .*, which gradcore has no tensors of"):
        load(data)


def test_types_that_nobody_has(tmp_path: Path) -> None:
    entries = {
        "a": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F4", "shape": [2, 3], "data_offsets": [3, 6]},
        "c": {"dtype": "U8", "shape": [2], "data_offsets": [6, 8]},
    }
    header = json.dumps(entries).encode()
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header + bytes(range(8)))
    with pytest.raises(SafetensorError, match="tensor 'a' is of type F8_E4M3, which neither NumPy nor gradcore has"):
        load_file(tmp_path / "file")
    with safe_open(tmp_path / "file") as file:
        assert file.get_tensor("c").tolist() == [6, 7]


def test_tensors_at_odd_places(tmp_path: Path) -> None:
    entries = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "b": {"dtype": "F64", "shape": [2], "data_offsets": [3, 19]},
    }
    header = json.dumps(entries).encode()
    data = bytes([1, 2, 3]) + np.array([0.5, -2.0]).tobytes()
    (tmp_path / "file").write_bytes(len(header).to_bytes(8, "little") + header + data)
    for found in (load_file(tmp_path / "file"), gc.load(tmp_path / "file", mmap=True)):
        assert found["b"].tolist() == [0.5, -2.0] and found["b"].numpy().flags.aligned
        assert found["a"].tolist() == [1, 2, 3]


def test_files_without_structure_load_as_dictionaries() -> None:
    found = gc.load(io.BytesIO(save({"b": gc.ones(2), "a": gc.zeros(1)})), map_location="cpu")
    assert type(found) is dict and {name: x.tolist() for name, x in found.items()} == {"b": [1, 1], "a": [0]}


# ---------------------------------------------------------------- beside the package
@pytest.fixture
def package() -> Any:
    return pytest.importorskip("safetensors.numpy")


@pytest.fixture
def torch_package() -> Any:
    pytest.importorskip("torch")
    return pytest.importorskip("safetensors.torch")


arrays = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=5),
    hnp.arrays(
        st.sampled_from(["?", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    max_size=4,
)


texts = st.text(st.characters(codec="utf-8"))
# Neither tensors nor texts: the package writes what is no JSON then.
metadatas = st.dictionaries(texts, texts).map(lambda found: found or None)


@settings(max_examples=100, deadline=None)
@given(arrays, metadatas)
def test_both_packages_read_both(contents: dict[str, np.ndarray], metadata: dict[str, str] | None) -> None:
    package = pytest.importorskip("safetensors.numpy")
    ours = save({name: gc.from_numpy(array) for name, array in contents.items()}, metadata)
    theirs = package.save(contents, metadata)
    for data in (ours, theirs):
        for found in ({name: x.numpy() for name, x in load(data).items()}, package.load(data)):
            assert found.keys() == contents.keys()
            for name, array in contents.items():
                assert found[name].dtype == array.dtype and found[name].shape == array.shape
                assert found[name].tobytes() == array.tobytes()


def test_what_torch_reads_and_writes(torch_package: Any, oracle: Any, tmp_path: Path) -> None:
    tensors = everything()
    save_file(tensors, tmp_path / "ours", {"format": "pt"})
    found = torch_package.load_file(tmp_path / "ours")
    for name, x in tensors.items():
        assert str(found[name].dtype) == str(x.dtype).replace("gradcore", "torch")
        assert list(found[name].shape) == list(x.shape) and found[name].tolist() == x.tolist()
    torch_package.save_file(found, tmp_path / "theirs")
    back = load_file(tmp_path / "theirs")
    assert all(back[name].dtype is x.dtype and back[name].tolist() == x.tolist() for name, x in tensors.items())


def test_torch_modules_take_our_files(torch_package: Any, oracle: Any, tmp_path: Path) -> None:
    def model(m: Any) -> Any:
        return m.nn.Sequential(m.nn.Linear(4, 3), m.nn.BatchNorm1d(3), m.nn.Linear(3, 2))

    ours, theirs = model(gc), model(oracle)
    gc.save(ours.state_dict(), tmp_path / "ours.safetensors")
    theirs.load_state_dict(torch_package.load_file(tmp_path / "ours.safetensors"))
    assert theirs[2].weight.tolist() == ours[2].weight.tolist()
    oracle.manual_seed(3)
    theirs = model(oracle)
    torch_package.save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    ours.load_state_dict(gc.load(tmp_path / "theirs.safetensors"))
    assert ours[2].weight.tolist() == theirs[2].weight.tolist()


def test_the_same_errors_as_the_package(package: Any) -> None:
    """What one refuses, so does the other."""
    good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    headers = [
        {"a": good},
        {"a": {**good, "shape": [3]}},
        {"a": {**good, "data_offsets": [1, 9]}},
        {"a": {**good, "data_offsets": [8, 0]}},
        {"a": {**good, "dtype": "F31"}},
        {"a": good, "b": good},
        {"a": {**good, "shape": [-2]}},
        {"a": {**good, "shape": [2.0]}},
        {"a": {"dtype": "F32", "shape": [2]}},
        {"__metadata__": {"a": 3}, "a": good},
        [],
        {},
    ]
    for header in headers:
        text = json.dumps(header).encode()
        data = len(text).to_bytes(8, "little") + text + bytes(8)
        refused = []
        for reader in (load, package.load):
            try:
                reader(data)
                refused.append(False)
            except Exception:
                refused.append(True)
        assert refused[0] == refused[1], header
