"""Files that mean harm: nothing in them is run, loading them takes little memory and time, and the error says why."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import hostile
import pytest

import gradcore as gc
from gradcore.serialization import LoadError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bounds on memory are those of Linux")
ROOT = Path(gc.__file__).resolve().parents[1]


def test_hostile_files(tmp_path: Path) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "files"
    folder.mkdir()
    cases = {f"{i:04}": case for i, case in enumerate(hostile.corpus(str(canary)))}
    assert len(cases) >= 500
    for name, case in cases.items():
        (folder / name).write_bytes(case.data)
    command = [sys.executable, hostile.__file__, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GRADCORE_CUDA": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not canary.exists()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 2 * len(cases)
    wrong = []
    for result in found:
        case = cases[result["name"]]
        problem = None
        if result["harm"]:
            problem = "harm"
        elif result["error"] not in ("LoadError", None) or (case.text and not result["error"]):
            problem = "another outcome"
        elif result["error"] and not result["text"].startswith(f"cannot load {folder / result['name']}: "):
            problem = "no file's name"
        elif case.text and not re.search(case.text, result["text"]):
            problem = f"another text than {case.text}"
        elif len(result["text"]) > 1000 or result["seconds"] > 10:
            problem = "too long"
        if problem:
            wrong.append((problem, case.name, result))
    assert not wrong, f"{len(wrong)} of {len(found)}: " + "\n".join(map(str, wrong[:20]))


def test_what_the_corpus_is_made_of_loads() -> None:
    """So that each file is refused for what was changed."""
    (found,) = gc.load(io.BytesIO(hostile.weights(b"\x80\x02" + hostile.rebuilt()[2:-1] + b"\x85.")))
    assert found.tolist() == [0, 0] and found.dtype is gc.float32
    assert gc.load(io.BytesIO(hostile.safetensors({"a": hostile.tensor()}, bytes(8))))["a"].tolist() == [0, 0]


def test_checksums(tmp_path: Path) -> None:
    """Of what is read; to compare those of what is mapped would read it all."""
    path = tmp_path / "file"
    path.write_bytes(hostile.weights(hostile.rebuilt(), b"MyNumber").replace(b"MyNumber", b"MyNumbes"))
    with pytest.raises(LoadError, match="the record 'data/0' of the archive is damaged: its checksum is another"):
        gc.load(path)
    assert gc.load(path, mmap=True).shape == (2,)


def test_the_canary_sings(tmp_path: Path) -> None:
    """Python's own unpickler runs what is refused: the corpus would notice."""
    (case,) = (case for case in hostile.programs(str(tmp_path / "canary")) if case.name == "os.system")
    with zipfile.ZipFile(io.BytesIO(case.data)) as archive:
        pickle.loads(archive.read("archive/data.pkl"))
    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "data",
    [
        hostile.weights(b"\x80\x05](" + 20_000 * b"}" + b"e."),
        hostile.weights(b"\x80\x05](" + 20_000 * b"]" + b"e."),
        hostile.weights(b"\x80\x05](" + 20_000 * b"\x8f" + b"e."),
        hostile.weights(b"\x80\x05N" + 20_000 * b"\x94" + b"."),
        hostile.weights(b"\x80\x05](ccollections\nOrderedDict\nq\x00" + 20_000 * b"h\x00)R" + b"e."),
        hostile.framed(b'{"a": [' + 20_000 * b"{}," + b"1]}"),
    ],
    ids=["dictionaries", "lists", "sets", "memo", "calls", "header"],
)
def test_memory_is_in_proportion_to_the_file(data: bytes) -> None:
    file = io.BytesIO(data)
    tracemalloc.start()
    with contextlib.suppress(LoadError):
        gc.load(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * len(data)
