"""The graph of a small model: as a table, and as a picture (graph.svg, if Graphviz is there to draw it).

python examples/see_graph.py [FILE.svg]
"""

from __future__ import annotations

import sys

import gradcore as torch
from gradcore import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 10))
images, labels = torch.randn(32, 64), torch.randint(10, (32,))

with torch.autograd.trace_lines():
    hidden = model[1](model[0](images))
    scores = model[2](hidden)
    loss = nn.functional.cross_entropy(scores, labels) + 1e-3 * (hidden * hidden).mean()

print(torch.explain(loss, model))

try:
    torch.viz.graph(loss, model, file=sys.argv[1] if len(sys.argv) > 1 else "graph.svg", rankdir="LR")
except RuntimeError as error:  # nothing here that draws
    print(error, file=sys.stderr)
