"""The computational graph as a picture: Graphviz's DOT text, and Graphviz to draw it.

>>> import gradcore as torch
>>> w = torch.ones(2, 3, requires_grad=True)
>>> picture = torch.viz.graph((w * 2).sum(), {"w": w})
>>> print(picture.source)
digraph gradcore {
  rankdir="TB"
  node [shape="box", style="rounded", fontname="Helvetica", fontsize="11"]
  edge [fontname="Helvetica", fontsize="9"]
  out0 [label="output", shape="plaintext"]
  n0 [label="SumBackward0", tooltip="kernel: reduce"]
  n1 [label="MulBackward0", tooltip="fused: input * other"]
  l0 [label="w", style="filled", fillcolor="lightblue"]
  n0 -> out0 [label="()"]
  n1 -> n0 [label="(2, 3)"]
  l0 -> n1 [label="(2, 3)"]
}
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .autograd.variable import Node, Variable
from .autograd.walk import graph_below, names_of
from .nn.parameter import Parameter
from .ops.work import forward_work

if TYPE_CHECKING:
    from .nn import Module
    from .tensor import Tensor

__all__ = ["Graph", "graph"]

_TEXT_FORMATS = ("dot", "gv")


class Graph:
    """A graph in the DOT language; notebooks show it as a picture if there is a program that draws it."""

    def __init__(self, source: str):
        #: The DOT text.
        self.source = source

    def __repr__(self) -> str:
        return f"<Graph of {self.source.count('[label=')} nodes and edges; .source is its DOT text>"

    def render(self, file: str | os.PathLike[str] | None = None, format: str = "svg") -> bytes:
        """The picture in a format of Graphviz (`"svg"`, `"png"`, `"pdf"`, ...), also written to `file` if one is given.

        `"dot"` and `"gv"` give the DOT text itself, for which nothing needs to be installed.

        Raises:
            RuntimeError: no program that draws is installed, or it refused; nothing is written then.
        """
        data = self.source.encode() if format in _TEXT_FORMATS else _drawn(self.source, format)
        if file is not None:
            Path(file).write_bytes(data)
        return data

    def _repr_svg_(self) -> str | None:
        # None: the notebook shows the plain repr.
        return self.render().decode() if shutil.which("dot") else None


def graph(
    tensors: Tensor | Sequence[Tensor],
    params: Module | Mapping[str, Tensor] | None = None,
    file: str | os.PathLike[str] | None = None,
    format: str | None = None,
    *,
    rankdir: str = "TB",
) -> Graph:
    """The graph that made `tensors`: operations with the names of their `grad_fn`, leaves, and shapes on the edges.

    Edges run as the data did, from leaves to results; `rankdir` is the direction of the picture (`"TB"`, `"BT"`, `"LR"`
    or `"RL"`). Parameters, and what `params` names (a module, or a mapping of names to tensors), are filled. An edge
    from one of several results begins with its index. With `file` the picture is written there, in `format` (by
    default what the file's name ends in, or SVG).

    Raises:
        TypeError: `tensors` are no tensors, or `params` is neither a module nor a mapping.
        ValueError: `rankdir` is none of the four.
        RuntimeError: a tensor does not require grad; or `file` is given and nothing that draws is installed.
    """
    if rankdir not in ("TB", "BT", "LR", "RL"):
        raise ValueError(f"graph(): rankdir must be TB, BT, LR or RL, got {rankdir!r}")
    found = Graph("\n".join(_dot(tensors, params, rankdir)))
    if file is not None:
        found.render(file, format or Path(file).suffix.lstrip(".").lower() or "svg")
    return found


def _dot(tensors: Any, params: Any, rankdir: str) -> Iterator[str]:
    roots, nodes, leaves = graph_below("graph", tensors)
    named = names_of("graph", params)
    ids: dict[Any, str] = {node: f"n{i}" for i, node in enumerate(nodes)}
    ids.update((leaf, f"l{i}") for i, leaf in enumerate(leaves))
    yield "digraph gradcore {"
    yield f"  rankdir={_quoted(rankdir)}"
    yield '  node [shape="box", style="rounded", fontname="Helvetica", fontsize="11"]'
    yield '  edge [fontname="Helvetica", fontsize="9"]'
    for i in range(len(roots)):
        yield _statement(f"out{i}", label=f"output {i}" if len(roots) > 1 else "output", shape="plaintext")
    for node in nodes:
        yield _statement(ids[node], label=node.name(), tooltip=str(forward_work(node.plan)))
    for i, leaf in enumerate(leaves):
        color = "lightblue" if leaf in named or isinstance(leaf, Parameter) else "white"
        yield _statement(ids[leaf], label=named.get(leaf, f"leaf {i}"), style="filled", fillcolor=color)
    for i, t in enumerate(roots):
        yield _edge(ids, t._node or t, t._index, f"out{i}")
    for node in nodes:
        for position, edge in enumerate(node.edges):
            if edge is not None:
                yield _edge(ids, edge, node.index_of(position), ids[node])
    yield "}"


def _edge(ids: dict[Any, str], source: Node | Variable, index: int, target: str) -> str:
    if isinstance(source, Variable):
        label = str(tuple(source._array.shape))
    elif source.outputs is None:
        label = str(source.shape)
    else:
        label = f"{index}: {tuple(source.outputs[index][0])}"
    return _statement(f"{ids[source]} -> {target}", label=label)


def _statement(subject: str, **attributes: str) -> str:
    return f"  {subject} [{', '.join(f'{name}={_quoted(value)}' for name, value in attributes.items())}]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


_INSTALL = (
    "drawing a graph needs Graphviz: install the program `dot` (apt install graphviz, brew install graphviz, conda "
    'install graphviz). The DOT text does not: graph(loss).source, or format="dot"'
)


def _drawn(source: str, format: str) -> bytes:
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(_INSTALL)
    done = subprocess.run([program, f"-T{format}"], input=source.encode(), capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{program} -T{format} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
