"""The graph as DOT text, and how it is drawn."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import gradcore as gc
from gradcore import nn
from gradcore.viz import Graph, graph

STAND_IN = """#!/bin/sh
echo "$*" >> {folder}/calls
if [ "$1" = -Tnone ]; then echo 'Format: "none" not recognized' >&2; exit 1; fi
echo "<svg>"; cat; echo "</svg>"
"""


@pytest.fixture
def dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `dot` on the PATH that wraps its input in <svg>; the folder that it logs its calls in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dot").write_text(STAND_IN.format(folder=folder))
    (folder / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def no_dot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))


def loss() -> tuple[gc.Tensor, nn.Module]:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    return model(gc.ones(2, 3)).sum(), model


def statements(source: str) -> dict[str, dict[str, str]]:
    """The nodes and edges of DOT text with their attributes; AssertionError for a line that is neither."""
    first, *lines, last = source.splitlines()
    assert (first, last) == ("digraph gradcore {", "}")
    found: dict[str, dict[str, str]] = {}
    for line in lines[1:]:
        match = re.fullmatch(r'  (\w+(?: -> \w+)?) \[(\w+="(?:[^"\\]|\\.)*"(?:, \w+="(?:[^"\\]|\\.)*")*)\]', line)
        assert match, line
        found[match[1]] = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2]))
    return found


def test_nodes_leaves_and_shapes() -> None:
    y, model = loss()
    found = statements(graph(y, model).source)
    labels = {name: attributes.get("label") for name, attributes in found.items()}
    assert [labels[f"n{i}"] for i in range(3)] == ["SumBackward0", "TanhBackward0", "AddmmBackward0"]
    assert {labels["l0"], labels["l1"]} == {"0.weight", "0.bias"}
    assert {found[name]["fillcolor"] for name in ("l0", "l1")} == {"lightblue"}
    edges = {name: label for name, label in labels.items() if "->" in name}
    assert edges == {
        "n0 -> out0": "()",
        "n1 -> n0": "(2, 4)",
        "n2 -> n1": "(2, 4)",
        "l0 -> n2": "(4, 3)",
        "l1 -> n2": "(4,)",
    }


def test_marks() -> None:
    plain, parameter = gc.ones(2, requires_grad=True), nn.Parameter(gc.ones(2))
    named = gc.ones(2, requires_grad=True)
    y = plain * parameter * named
    found = statements(graph([y, y.sum()], {'a "name"\\': named}).source)
    colors = {a["label"]: a["fillcolor"] for name, a in found.items() if name.startswith("l") and "->" not in name}
    assert colors == {'a \\"name\\"\\\\': "lightblue", "leaf 1": "white", "leaf 2": "lightblue"}
    assert found["out0"]["label"] == "output 0" and found["out1"]["label"] == "output 1"


def test_index_of_the_result_on_the_edge() -> None:
    p, q = gc.ones(5, requires_grad=True).split([2, 3])
    source = graph([p.sum() + q.sum(), q]).source
    assert re.search(r'n3 -> n\d \[label="0: \(2,\)"\]', source) and re.search(
        r'n3 -> n\d \[label="1: \(3,\)"\]', source
    )
    assert 'n3 -> out1 [label="1: (3,)"]' in source


def test_direction_and_what_is_refused(tmp_path: Path) -> None:
    y, _ = loss()
    assert 'rankdir="LR"' in graph(y, rankdir="LR").source and 'rankdir="TB"' in graph(y).source
    with pytest.raises(ValueError, match="rankdir must be TB, BT, LR or RL, got 'up'"):
        graph(y, file=tmp_path / "x.dot", rankdir="up")
    with pytest.raises(RuntimeError, match=r"graph\(\): element 0 of tensors does not require grad"):
        graph(gc.ones(2), file=tmp_path / "x.dot")
    assert not (tmp_path / "x.dot").exists()


def test_a_large_graph() -> None:
    y = gc.ones(2, requires_grad=True)
    for _ in range(10_000):
        y = y * 1.5
    source = graph(y).source
    assert source.count("MulBackward0") == 10_000 and source.count(" -> ") == 10_001


# ---------------------------------------------------------------- drawing
def test_drawn_by_dot(dot: Path, tmp_path: Path) -> None:
    y, model = loss()
    found = graph(y, model, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text() == f"<svg>\n{found.source}</svg>\n"
    graph(y, file=tmp_path / "b.PNG")
    graph(y, file=tmp_path / "c", format="pdf")
    graph(y, file=str(tmp_path / "d"))
    assert (dot / "calls").read_text().split() == ["-Tsvg", "-Tpng", "-Tpdf", "-Tsvg"]
    assert found._repr_svg_() == f"<svg>\n{found.source}</svg>\n"
    assert found.render() == (tmp_path / "a.svg").read_bytes()


def test_an_error_of_dot_is_reported_and_nothing_written(dot: Path, tmp_path: Path) -> None:
    (tmp_path / "old.svg").write_text("old")
    with pytest.raises(RuntimeError, match='-Tnone failed: Format: "none" not recognized'):
        Graph("digraph {}").render(tmp_path / "old.svg", "none")
    assert (tmp_path / "old.svg").read_text() == "old"


def test_without_a_program_the_text_is_there(no_dot: None, tmp_path: Path) -> None:
    y, _ = loss()
    with pytest.raises(RuntimeError, match="install the program `dot`"):
        graph(y, file=tmp_path / "a.svg")
    assert not (tmp_path / "a.svg").exists()
    found = graph(y, file=tmp_path / "a.dot")
    assert (tmp_path / "a.dot").read_text() == found.source
    assert found.render(format="gv") == found.source.encode()
    assert found._repr_svg_() is None and ".source is its DOT text" in repr(found)


def test_a_real_program_accepts_the_text(tmp_path: Path) -> None:
    program = shutil.which("dot")
    if program is None:
        pytest.skip("Graphviz is not installed: apt install graphviz")
    y = gc.ones(3, requires_grad=True)
    picture = graph((y * y).sum(), {'a "name"\\': y}, tmp_path / "a.svg")._repr_svg_()
    assert picture is not None and "MulBackward0" in picture and picture.count('class="edge"') == 4
    assert subprocess.run([program, "-V"], capture_output=True).returncode == 0
