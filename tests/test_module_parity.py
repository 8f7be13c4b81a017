"""Every module beside PyTorch's: representation, state, results and gradients, by a table of how each is made.

A module that PyTorch has, too, needs a row here: a test fails until it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE

import gradcore as gc

# How to make a module, given a namespace, and its inputs: shapes of random numbers, or arrays.
Row = tuple[Callable[[Any], Any], list[Any]]

_rng = np.random.default_rng(0)
IMAGE, LINE, VOLUME = (2, 4, 7, 6), (2, 4, 9), (2, 4, 5, 6, 4)
CLASSES = np.array([1, 0, 3, 2, 1])
SIGNS = np.array([1.0, -1, -1, 1, 1])
PROBABILITIES = _rng.uniform(0.1, 0.9, (5, 4))
INDICES = np.array([[1, 0, 2], [3, 3, 1]])


def _plain(*names: str, shapes: list[Any] | None = None) -> dict[str, list[Row]]:
    """Modules that are made without arguments."""
    return {name: [(lambda nn, name=name: getattr(nn, name)(), shapes or [(3, 4)])] for name in names}


def _by_rank(name: str, make: Callable[[Any], Any], inputs: tuple[Any, ...] = (LINE, IMAGE, VOLUME)) -> dict[str, Any]:
    """Modules for one, two and three dimensions that are made alike."""
    return {
        f"{name}{n}d": [(lambda nn, n=n: make(getattr(nn, f"{name}{n}d")), [inputs[n - 1]])]
        for n in (1, 2, 3)
        if inputs[n - 1] is not None
    }


def _recurrent(name: str, **options: Any) -> list[Row]:
    rows = [{}, {"num_layers": 2, "bidirectional": True, "bias": False}, {"batch_first": True, **options}]
    made: list[Row] = [(lambda nn, o=o: getattr(nn, name)(4, 5, **o), [(6, 3, 4)]) for o in rows]
    return [*made, (lambda nn: getattr(nn, name)(4, 5, 2), [(6, 4)])]


_encoder: dict[str, Any] = {"dim_feedforward": 16, "dropout": 0.0}

TABLE: dict[str, list[Row]] = {
    # activations
    **_plain("CELU", "ELU", "GELU", "GLU", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity", "LeakyReLU"),
    **_plain("LogSigmoid", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "Sigmoid", "SiLU", "Softplus", "Softsign", "Tanh"),
    **_plain("Tanhshrink", "Hardshrink", "Softshrink", "Flatten"),
    "Threshold": [(lambda nn: nn.Threshold(0.3, -2.0), [(3, 4)]), (lambda nn: nn.Threshold(0, 1, True), [(3, 4)])],
    "RReLU": [(lambda nn: nn.RReLU(0.2, 0.2), [(3, 4)])],
    **{n: [(lambda nn, n=n: getattr(nn, n)(dim=1), [(3, 4)])] for n in ("Softmax", "LogSoftmax", "Softmin")},
    **_plain("Softmax2d", shapes=[IMAGE]),
    # shapes
    "Unflatten": [(lambda nn: nn.Unflatten(1, (2, -1)), [(3, 4)])],
    "Unfold": [(lambda nn: nn.Unfold((3, 2), dilation=(1, 2), padding=1, stride=2), [IMAGE])],
    "Fold": [(lambda nn: nn.Fold((5, 4), (2, 3), padding=1, stride=2), [(2, 12, 6)])],
    "ChannelShuffle": [(lambda nn: nn.ChannelShuffle(2), [IMAGE])],
    "PixelShuffle": [(lambda nn: nn.PixelShuffle(2), [IMAGE])],
    "PixelUnshuffle": [(lambda nn: nn.PixelUnshuffle(2), [(2, 3, 4, 6)])],
    "Upsample": [(lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"), [IMAGE])],
    "UpsamplingNearest2d": [(lambda nn: nn.UpsamplingNearest2d(size=(9, 5)), [IMAGE])],
    "UpsamplingBilinear2d": [(lambda nn: nn.UpsamplingBilinear2d(scale_factor=3), [IMAGE])],
    **{
        key: row
        for name in ("ConstantPad", "ZeroPad", "ReflectionPad", "ReplicationPad", "CircularPad")
        for key, row in _by_rank(name, lambda c: c(2, 1.5) if "Constant" in c.__name__ else c(2)).items()
    },
    # linear maps and convolutions
    "Linear": [(lambda nn: nn.Linear(4, 3), [(5, 4)]), (lambda nn: nn.Linear(4, 3, bias=False), [(2, 5, 4)])],
    "Bilinear": [
        (lambda nn: nn.Bilinear(4, 3, 2), [(5, 4), (5, 3)]),
        (lambda nn: nn.Bilinear(2, 2, 1, False), [(2,), (2,)]),
    ],
    **_by_rank("Conv", lambda c: c(4, 6, 3, stride=2, padding=1, groups=2)),
    **_by_rank("ConvTranspose", lambda c: c(4, 6, 3, stride=2, output_padding=1)),
    "Embedding": [(lambda nn: nn.Embedding(5, 3, padding_idx=1), [INDICES])],
    "EmbeddingBag": [
        *[(lambda nn, m=m: nn.EmbeddingBag(5, 3, mode=m), [INDICES]) for m in ("sum", "mean", "max")],
        (lambda nn: nn.EmbeddingBag(5, 3, padding_idx=3), [np.array([1, 3, 2, 2]), np.array([0, 0, 2])]),
        (lambda nn: nn.EmbeddingBag(5, 3, include_last_offset=True), [np.array([1, 3, 2]), np.array([0, 2, 3])]),
        (lambda nn: nn.EmbeddingBag(5, 3, mode="sum"), [np.array([1, 3, 2]), np.array([0, 2]), (3,)]),
    ],
    # norms
    **_by_rank("BatchNorm", lambda c: c(4, momentum=0.3)),
    **_by_rank("InstanceNorm", lambda c: c(4, affine=True, track_running_stats=True)),
    "GroupNorm": [(lambda nn: nn.GroupNorm(2, 4), [IMAGE])],
    "LayerNorm": [(lambda nn: nn.LayerNorm((3, 4), bias=False), [(2, 3, 4)])],
    "RMSNorm": [(lambda nn: nn.RMSNorm(4, eps=1e-3), [(2, 3, 4)])],
    "LocalResponseNorm": [(lambda nn: nn.LocalResponseNorm(3, 0.2), [s]) for s in (LINE, IMAGE, VOLUME)],
    # pooling
    **_by_rank("MaxPool", lambda c: c(3, 2, 1)),
    **_by_rank("AvgPool", lambda c: c(3, 2, 1, count_include_pad=False)),
    **_by_rank("LPPool", lambda c: c(2, 3, stride=2, ceil_mode=True)),
    **{
        f"MaxUnpool{n}d": [(lambda nn, n=n: getattr(nn, f"MaxUnpool{n}d")(2, 3), [(*s,), np.array(places).reshape(s)])]
        for n, s, places in (
            (1, (1, 2, 2), [[0, 4], [1, 3]]),
            (2, (1, 2, 1, 2), [[6, 4], [0, 8]]),
            (3, (1, 1, 1, 1, 2), [[17, 2]]),
        )
    },
    **_by_rank("AdaptiveAvgPool", lambda c: c(3)),
    **_by_rank("AdaptiveMaxPool", lambda c: c(3)),
    # dropout, where nothing is random
    **_plain("Dropout", "AlphaDropout", shapes=[(3, 4)]),
    **_by_rank("Dropout", lambda c: c(0.0)),
    "Dropout2d": [(lambda nn: nn.Dropout2d(0.0), [IMAGE])],
    "FeatureAlphaDropout": [(lambda nn: nn.FeatureAlphaDropout(0.0), [IMAGE])],
    "Dropout": [(lambda nn: nn.Dropout(0.0), [(3, 4)])],
    "AlphaDropout": [(lambda nn: nn.AlphaDropout(0.0, inplace=True), [(3, 4)])],
    # recurrent layers
    "RNN": _recurrent("RNN", nonlinearity="relu"),
    "GRU": _recurrent("GRU", bidirectional=True),
    "LSTM": _recurrent("LSTM", proj_size=3, num_layers=2, bidirectional=True),
    "RNNCell": [(lambda nn: nn.RNNCell(4, 5, nonlinearity="relu"), [(3, 4), (3, 5)])],
    "GRUCell": [(lambda nn: nn.GRUCell(4, 5, bias=False), [(3, 4), (3, 5)]), (lambda nn: nn.GRUCell(4, 5), [(4,)])],
    "LSTMCell": [(lambda nn: nn.LSTMCell(4, 5), [(3, 4), [(3, 5), (3, 5)]]), (lambda nn: nn.LSTMCell(4, 5), [(4,)])],
    # attention
    "MultiheadAttention": [(lambda nn: nn.MultiheadAttention(8, 2), [(5, 3, 8), (6, 3, 8), (6, 3, 8)])],
    "TransformerEncoderLayer": [
        (lambda nn: nn.TransformerEncoderLayer(8, 2, **_encoder), [(5, 3, 8)]),
        (
            lambda nn: nn.TransformerEncoderLayer(
                8, 2, **_encoder, norm_first=True, activation="gelu", batch_first=True
            ),
            [(3, 5, 8)],
        ),
        (lambda nn: nn.TransformerEncoderLayer(8, 2, **_encoder, bias=False, activation=nn.SiLU()), [(5, 8)]),
    ],
    "TransformerDecoderLayer": [
        (lambda nn: nn.TransformerDecoderLayer(8, 2, **_encoder), [(5, 3, 8), (6, 3, 8)]),
        (lambda nn: nn.TransformerDecoderLayer(8, 2, **_encoder, norm_first=True), [(5, 3, 8), (6, 3, 8)]),
    ],
    "TransformerEncoder": [
        (
            lambda nn: nn.TransformerEncoder(
                nn.TransformerEncoderLayer(8, 2, **_encoder), 2, nn.LayerNorm(8), enable_nested_tensor=False
            ),
            [(5, 3, 8)],
        )
    ],
    "TransformerDecoder": [
        (lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, **_encoder), 2), [(5, 3, 8), (6, 3, 8)])
    ],
    "Transformer": [
        (lambda nn: nn.Transformer(8, 2, 1, 2, 16, 0.0, batch_first=True), [(3, 5, 8), (3, 6, 8)]),
    ],
    # containers
    "Module": [(lambda nn: nn.Module(), [])],
    "Sequential": [(lambda nn: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), [(5, 4)])],
    "ModuleList": [(lambda nn: nn.ModuleList([nn.Linear(4, 3), nn.ReLU(), nn.ReLU()]), [])],
    "ModuleDict": [(lambda nn: nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.ReLU()}), [])],
    "ParameterList": [(lambda nn: nn.ParameterList([nn.Linear(2, 3).weight, 2]), [])],
    "ParameterDict": [(lambda nn: nn.ParameterDict({"a": nn.Linear(2, 3).weight, "b": 2}), [])],
    # losses
    **{
        name: [(lambda nn, n=name, r=r: getattr(nn, n)(reduction=r), [(5, 4), PROBABILITIES]) for r in ("mean", "none")]
        for name in ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss")
    },
    "BCELoss": [(lambda nn: nn.BCELoss(), [PROBABILITIES, PROBABILITIES.copy()])],
    "KLDivLoss": [(lambda nn: nn.KLDivLoss(reduction="batchmean"), [(5, 4), PROBABILITIES])],
    "PoissonNLLLoss": [
        (lambda nn: nn.PoissonNLLLoss(full=True), [(5, 4), np.abs(_rng.standard_normal((5, 4))) * 3]),
        (lambda nn: nn.PoissonNLLLoss(log_input=False, reduction="sum"), [PROBABILITIES, PROBABILITIES.copy()]),
    ],
    "GaussianNLLLoss": [
        (lambda nn: nn.GaussianNLLLoss(full=True), [(5, 4), (5, 4), PROBABILITIES]),
        (lambda nn: nn.GaussianNLLLoss(reduction="none"), [(5, 4), (5, 4), PROBABILITIES[:, 0]]),
    ],
    "CrossEntropyLoss": [(lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1), [(5, 4), CLASSES])],
    "NLLLoss": [(lambda nn: nn.NLLLoss(ignore_index=1), [(5, 4), CLASSES])],
    "CTCLoss": [
        (lambda nn: nn.CTCLoss(zero_infinity=True), [(6, 2, 5), INDICES[:, 1:] + 1, np.array([6, 5]), np.array([2, 1])])
    ],
    "SoftMarginLoss": [(lambda nn, r=r: nn.SoftMarginLoss(reduction=r), [(5,), SIGNS]) for r in ("mean", "none")],
    "HingeEmbeddingLoss": [(lambda nn: nn.HingeEmbeddingLoss(0.7), [(5,), SIGNS])],
    "MultiMarginLoss": [
        (lambda nn: nn.MultiMarginLoss(), [(5, 4), CLASSES]),
        (lambda nn: nn.MultiMarginLoss(2, 0.8, reduction="none"), [(5, 4), CLASSES]),
    ],
    "MultiLabelMarginLoss": [
        (lambda nn: nn.MultiLabelMarginLoss(), [(2, 4), np.array([[3, 0, -1, 1], [2, -1, 2, 2]])]),
        (lambda nn: nn.MultiLabelMarginLoss(reduction="none"), [(4,), np.array([0, -1, -1, -1])]),
    ],
    "MarginRankingLoss": [(lambda nn: nn.MarginRankingLoss(0.2), [(5,), (5,), SIGNS])],
    "CosineEmbeddingLoss": [(lambda nn: nn.CosineEmbeddingLoss(0.2), [(5, 4), (5, 4), SIGNS])],
    "TripletMarginLoss": [(lambda nn: nn.TripletMarginLoss(0.7, swap=True), [(5, 4)] * 3)],
    "TripletMarginWithDistanceLoss": [
        (lambda nn: nn.TripletMarginWithDistanceLoss(), [(5, 4)] * 3),
        (lambda nn: nn.TripletMarginWithDistanceLoss(distance_function=_squares, swap=True, margin=0.5), [(5, 4)] * 3),
    ],
    "CosineSimilarity": [(lambda nn: nn.CosineSimilarity(1), [(5, 4), (5, 4)])],
    "PairwiseDistance": [(lambda nn: nn.PairwiseDistance(3), [(5, 4), (5, 4)])],
}  # fmt: skip

# What has nothing to call, or whose results depend on chance.
BASES = {"RNNBase", "RNNCellBase"}


def _squares(x: Any, y: Any) -> Any:
    return (x - y).square().sum(-1)


# Whose constant is one of float32 in PyTorch, in float64, too.
LOOSE = {"Hardsigmoid": 1e-7}

CASES = [pytest.param(n, row, id=f"{n}-{k}") for n, rows in sorted(TABLE.items()) for k, row in enumerate(rows)]


def test_every_module_has_a_row(oracle: Any) -> None:
    theirs = {name for name in dir(oracle.nn) if isinstance(getattr(oracle.nn, name), type)}
    ours = {name for name in dir(gc.nn) if isinstance(getattr(gc.nn, name), type)}
    both = {n for n in ours & theirs if issubclass(getattr(gc.nn, n), gc.nn.Module)}
    assert both - BASES == set(TABLE)


def _tensors(module: Any, inputs: list[Any], rng: np.random.Generator) -> list[Any]:
    """A row's inputs. The first, and all that is random, requires grad; lists of inputs are tuples of tensors."""
    found = []
    for k, given in enumerate(inputs):
        if isinstance(given, list):
            found.append(tuple(_tensors(module, given, rng)))
            continue
        random = isinstance(given, tuple)
        t = module.tensor(rng.standard_normal(given) if random else given)
        found.append(t.requires_grad_() if random or (k == 0 and t.is_floating_point()) else t)
    return found


def _flat(values: Any) -> list[Any]:
    if isinstance(values, (tuple, list)):
        return [t for v in values for t in _flat(v)]
    return [] if values is None else [values]


def _close(found: Any, expected: Any, rtol: float | None = None) -> None:
    usual, atol = TOLERANCE[gc.float64]
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=rtol or usual, atol=10 * atol)


def _same_state(ours: Any, theirs: Any) -> None:
    state, expected = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(expected)
    for a, b in zip(state.values(), expected.values()):
        assert str(a.dtype).split(".")[1] == str(b.dtype).split(".")[1]
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def _text(module: Any) -> str:
    text = repr(module).replace("NonDynamicallyQuantizableLinear", "Linear")
    return text.replace("torch.", "gradcore.")


@pytest.mark.parametrize(("name", "row"), CASES)
@pytest.mark.filterwarnings("ignore:.*(enable_nested_tensor|oneDNN)")
def test_module(name: str, row: Row, oracle: Any) -> None:
    make, inputs = row
    ours, theirs = make(gc.nn).double(), make(oracle.nn).double()
    assert _text(ours) == _text(theirs)
    # Ours into theirs, and the other way round, by name.
    theirs.load_state_dict({n: oracle.from_numpy(t.numpy().copy()) for n, t in ours.state_dict().items()})
    _same_state(ours, theirs)
    other = make(gc.nn).double()
    other.load_state_dict({n: gc.from_numpy(t.numpy().copy()) for n, t in theirs.state_dict().items()})
    _same_state(other, theirs)
    if not inputs:
        return
    for training in (True, False):
        results = []
        for module, library in ((other, gc), (theirs, oracle)):
            module.train(training)
            module.zero_grad()
            given = _tensors(library, inputs, np.random.default_rng(1))
            leaves = [t for t in _flat(given) if t.requires_grad]
            # (A leaf may not be changed in place.)
            out = _flat(module(*(t * 1 if hasattr(t, "ndim") and t.is_floating_point() else t for t in given)))
            sum((t * t.cos()).sum() for t in out if t.is_floating_point()).backward()
            results.append([*out, *(t.grad for t in leaves), *(p.grad for p in module.parameters())])
        assert len(results[0]) == len(results[1])
        for found, expected in zip(*results):
            assert (found is None) == (expected is None)
            if found is not None:
                _close(found, expected, LOOSE.get(name))
        for a, b in zip(other.buffers(), theirs.buffers()):
            _close(a, b)
