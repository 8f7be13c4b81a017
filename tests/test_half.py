"""16-bit floats: no operator's error is more than twice that of PyTorch, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import torch

if torch is None:
    pytest.skip("PyTorch is not installed: pip install torch expecttest", allow_module_level=True)

from opinfo import Call, _Side, _tensors, database, described, samples
from parity import Raised, values_of
from test_torch_parity import CLAIMED, OPEN, RANDOM, UP_TO_SIGN, deviates

# Where more is rounded on the way than in PyTorch: times the error allowed.
ROUNDED = {
    "nn.functional.embedding": 4,  # with max_norm the table itself is scaled, in place
    "nn.functional.multi_head_attention_forward": 4,  # each step is an operator of its own
    "nn.functional.nll_loss": 2,  # the weights are added up before the division
    "nn.functional.triplet_margin_loss": 4,  # two distances, then their difference
}

# The distance of 1 to the next number.
EPS = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


def wide(value: Any) -> Any:
    """A value with its 16-bit tensors as float64."""
    if isinstance(value, torch.Tensor):
        return value.detach().double() if value.dtype in (torch.float16, torch.bfloat16) else value
    if isinstance(value, torch.dtype):
        return torch.float64 if value in (torch.float16, torch.bfloat16) else value
    if isinstance(value, dict):
        return {k: wide(v) for k, v in value.items()}
    return type(value)([wide(v) for v in value]) if isinstance(value, (tuple, list)) else value


def error(found: Any, exact: np.ndarray) -> float:
    """The largest error of a tensor, relative to the largest of the exact values."""
    values = values_of(found).astype(np.float64)
    both = np.isfinite(values) & np.isfinite(exact)
    scale = np.abs(exact[both]).max(initial=0.0)
    return float(np.abs(values - exact)[both].max(initial=0.0) / scale) if scale else 0.0


CASES = [
    (name, dtype)
    for name in CLAIMED
    for dtype in EPS
    if getattr(torch, dtype) in database()[name].dtypes and name not in RANDOM and name not in UP_TO_SIGN
]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda x: x)
def test_error(name: str, dtype: str) -> None:
    info = database()[name]
    problems = []
    for sample in samples(info, dtype, False):
        call = Call(info, sample)
        if deviates(name, call.text):
            continue
        exact = _Side(info.op, wide(sample.input), wide(list(sample.args)), wide(dict(sample.kwargs)), process=None)
        if isinstance(call.theirs.output, Raised) or isinstance(exact.output, Raised):
            continue
        if isinstance(call.ours.output, Raised):
            if isinstance(call.ours.output.error, NotImplementedError):
                continue
            problems.append(f"  {call.text}: {call.ours.output!r}")
            continue
        triples = zip(_tensors(call.ours.output), _tensors(call.theirs.output), _tensors(exact.output))
        for i, (a, b, c) in enumerate(triples):
            if not a.is_floating_point() or (name in OPEN and i == OPEN[name]):
                continue
            reference = values_of(c).astype(np.float64)
            ours, theirs = error(a, reference), error(b, reference)
            if ours > ROUNDED.get(name, 1) * (2 * theirs + EPS[dtype] / 2):
                problems.append(f"  {described(sample.input)}, {call.text}: {ours:.2g}, PyTorch {theirs:.2g}")
    assert not problems, f"{len(problems)} samples:\n" + "\n".join(problems[:8])
