"""Convolutions, channel norms, pooling and attention as modules, beside PyTorch's with the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import fails
from conftest import TOLERANCE

import gradcore as gc

Make = Callable[[Any], Any]

# (the module, made of a namespace; the shapes of its inputs)
CASES: list[tuple[Make, list[tuple[int, ...]]]] = [
    (lambda nn: nn.Conv1d(4, 6, 3, padding=1, groups=2), [(2, 4, 9)]),
    (lambda nn: nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), [(2, 3, 7, 9)]),
    (lambda nn: nn.Conv2d(3, 5, 1, bias=False), [(2, 3, 4, 4)]),
    (lambda nn: nn.Conv2d(3, 5, (4, 3), padding="same"), [(3, 6, 5)]),
    (lambda nn: nn.Conv3d(2, 3, 2, stride=2, padding="valid"), [(2, 2, 4, 5, 6)]),
    *[
        (lambda nn, mode=mode, pad=pad: nn.Conv2d(2, 3, (4, 3), padding=pad, padding_mode=mode), [(2, 2, 6, 5)])
        for mode in ("reflect", "replicate", "circular")
        for pad in ((1, 2), "same", "valid")
    ],
    (lambda nn: nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2), [(2, 4, 5)]),
    (lambda nn: nn.ConvTranspose2d(3, 4, (3, 2), 2, 1, output_padding=1, dilation=(1, 2)), [(2, 3, 4, 5)]),
    (lambda nn: nn.ConvTranspose3d(2, 3, 2, bias=False), [(2, 2, 3, 2, 3)]),
    (lambda nn: nn.MaxPool1d(3, 2, 1), [(2, 3, 9)]),
    (lambda nn: nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True), [(2, 3, 9, 11)]),
    (lambda nn: nn.MaxPool3d((1, 2, 2)), [(2, 3, 4, 5)]),
    (lambda nn: nn.AvgPool1d(3, ceil_mode=True, count_include_pad=False), [(2, 3, 7)]),
    (lambda nn: nn.AvgPool2d(3, 2, 1, count_include_pad=False), [(2, 3, 7, 8)]),
    (lambda nn: nn.AvgPool3d(2, divisor_override=3), [(2, 3, 4, 5, 6)]),
    (lambda nn: nn.AdaptiveAvgPool1d(4), [(2, 3, 7)]),
    (lambda nn: nn.AdaptiveAvgPool2d((3, None)), [(2, 3, 7, 5)]),
    (lambda nn: nn.AdaptiveAvgPool3d(2), [(2, 3, 4, 5)]),
    (lambda nn: nn.AdaptiveMaxPool1d(4), [(2, 3, 7)]),
    (lambda nn: nn.AdaptiveMaxPool2d((3, 4)), [(2, 3, 7, 5)]),
    (lambda nn: nn.AdaptiveMaxPool3d(2), [(2, 3, 4, 5, 3)]),
    (lambda nn: nn.BatchNorm1d(3), [(4, 3)]),
    (lambda nn: nn.BatchNorm1d(3, momentum=None, bias=False), [(4, 3, 5)]),
    (lambda nn: nn.BatchNorm2d(3, momentum=0.3), [(4, 3, 5, 2)]),
    (lambda nn: nn.BatchNorm3d(3, affine=False, track_running_stats=False), [(2, 3, 2, 3, 2)]),
    (lambda nn: nn.GroupNorm(2, 6), [(3, 6, 5, 2)]),
    (lambda nn: nn.GroupNorm(3, 6, bias=False), [(3, 6)]),
    (lambda nn: nn.InstanceNorm1d(3, affine=True), [(3, 7)]),
    (lambda nn: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), [(4, 3, 5, 2)]),
    (lambda nn: nn.InstanceNorm3d(3), [(2, 3, 2, 3, 2)]),
    (lambda nn: nn.MultiheadAttention(8, 2), [(5, 3, 8), (6, 3, 8), (6, 3, 8)]),
    (lambda nn: nn.MultiheadAttention(8, 2, bias=False, batch_first=True), [(3, 5, 8), (3, 6, 8), (3, 6, 8)]),
    (
        lambda nn: nn.MultiheadAttention(8, 4, add_bias_kv=True, add_zero_attn=True, kdim=5, vdim=3),
        [(5, 8), (6, 5), (6, 3)],
    ),
]


def pair(make: Make, oracle: Any, device: str = "cpu") -> tuple[Any, Any]:
    """The module in both libraries, with the same parameters and buffers."""
    theirs, ours = make(oracle.nn).double(), make(gc.nn).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values()):
        assert tuple(a.shape) == tuple(b.shape) and str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
    ours.load_state_dict({n: gc.from_numpy(t.numpy().copy()) for n, t in theirs.state_dict().items()})
    return ours.to(device), theirs


def close(found: Any, expected: Any) -> None:
    rtol, atol = TOLERANCE[gc.float64]
    assert tuple(found.shape) == tuple(expected.shape)
    host = found.detach().cpu().numpy()
    np.testing.assert_allclose(host, expected.detach().numpy(), rtol=10 * rtol, atol=10 * atol)


@pytest.mark.parametrize("at", range(len(CASES)))
def test_modules(at: int, device: str, oracle: Any) -> None:
    """Representation, state, results in training and evaluation, gradients, and buffers afterwards."""
    make, shapes = CASES[at]
    ours, theirs = pair(make, oracle, device)
    assert repr(ours).split("(")[0] == repr(theirs).split("(")[0]
    if "MultiheadAttention" not in repr(theirs):
        assert repr(ours) == repr(theirs)
    rng = np.random.default_rng(at)
    for training in (True, True, False):
        arrays = [rng.standard_normal(s) for s in shapes]
        a = [gc.tensor(x, device=device).requires_grad_() for x in arrays]
        b = [oracle.tensor(x).requires_grad_() for x in arrays]
        results = []
        for module, inputs in ((ours, a), (theirs, b)):
            module.train(training)
            module.zero_grad()
            out = module(*inputs)
            out = out if isinstance(out, tuple) else (out,)
            sum((o * o.cos()).sum() for o in out).backward()
            results.append([*out, *(t.grad for t in inputs), *(p.grad for p in module.parameters())])
        for found, expected in zip(*results):
            close(found, expected)
        for found, expected in zip(ours.state_dict().values(), theirs.state_dict().values()):
            close(found, expected)


BAD: list[Make] = [
    lambda nn: nn.Conv2d(4, 6, 3, groups=3),
    lambda nn: nn.Conv2d(6, 4, 3, groups=3),
    lambda nn: nn.Conv2d(6, 4, 3, groups=0),
    lambda nn: nn.Conv2d(6, 4, 3, padding="same", stride=2),
    lambda nn: nn.ConvTranspose2d(6, 4, 3, padding_mode="reflect"),
    lambda nn: nn.GroupNorm(3, 4),
    lambda nn: nn.MultiheadAttention(5, 2),
    lambda nn: nn.MultiheadAttention(0, 1),
]


@pytest.mark.parametrize("make", BAD)
def test_bad_arguments(make: Make) -> None:
    fails(lambda m, _: make(m.nn))


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda nn: nn.BatchNorm2d(3), (2, 3)),
        (lambda nn: nn.BatchNorm1d(3), (2, 3, 4, 5)),
        (lambda nn: nn.InstanceNorm2d(3), (3,)),
        (lambda nn: nn.InstanceNorm2d(3, affine=True), (2, 4, 5, 5)),
        (lambda nn: nn.Conv2d(3, 2, 3), (2, 4, 5, 5)),
        (lambda nn: nn.MaxPool2d(7), (2, 4, 5, 5)),
    ],
)
def test_bad_inputs(make: Make, shape: tuple[int, ...]) -> None:
    fails(lambda m, _: make(m.nn)(m.ones(shape)))


def test_output_size(oracle: Any) -> None:
    """A transposed convolution whose result has the size that is wanted."""
    ours, theirs = pair(lambda nn: nn.ConvTranspose2d(2, 3, 3, stride=2), oracle)
    x = np.random.default_rng(0).standard_normal((1, 2, 4, 5))
    for size in ((10, 11), (9, 12), (1, 3, 10, 12)):
        close(ours(gc.tensor(x), output_size=size), theirs(oracle.tensor(x), output_size=size))
    for size in ((20, 20), (1,)):
        with pytest.raises(ValueError) as expected:
            theirs(oracle.tensor(x), output_size=size)
        with pytest.raises(ValueError) as found:
            ours(gc.tensor(x), output_size=size)
        assert str(found.value).split("sizes range")[0] == str(expected.value).split("sizes range")[0]


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("kind", ["bool", "float", "padding", "both"])
def test_masks_of_multi_head_attention(kind: str, need_weights: bool, oracle: Any) -> None:
    ours, theirs = pair(lambda nn: nn.MultiheadAttention(8, 2), oracle)
    rng = np.random.default_rng(0)
    x, mask = rng.standard_normal((5, 3, 8)), np.triu(np.ones((5, 5), bool), 1)
    padding = np.zeros((3, 5), bool)
    padding[1, 3:] = True
    options: dict[str, np.ndarray] = {}
    if kind in ("bool", "both"):
        options["attn_mask"] = mask
    if kind == "float":
        options["attn_mask"] = rng.standard_normal((6, 5, 5))
    if kind in ("padding", "both"):
        options["key_padding_mask"] = padding
    a, b = gc.tensor(x).requires_grad_(), oracle.tensor(x).requires_grad_()
    found = ours(a, a, a, need_weights=need_weights, **{n: gc.tensor(m) for n, m in options.items()})
    expected = theirs(b, b, b, need_weights=need_weights, **{n: oracle.tensor(m) for n, m in options.items()})
    close(found[0], expected[0])
    (found[0] * found[0].cos()).sum().backward()
    (expected[0] * expected[0].cos()).sum().backward()
    close(a.grad, b.grad)
    assert (found[1] is None) == (expected[1] is None)
    if need_weights:
        close(found[1], expected[1])
