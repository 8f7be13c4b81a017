"""Recurrent modules, packed sequences, transformers with masks, dropout of channels and bags of embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import fails
from conftest import TOLERANCE

import gradcore as gc
from gradcore.nn.utils import rnn

RTOL, ATOL = TOLERANCE[gc.float64]
KINDS = ("LSTM", "GRU", "RNN")


def close(found: Any, expected: Any, rtol: float = RTOL, atol: float = 10 * ATOL) -> None:
    assert tuple(found.shape) == tuple(expected.shape)
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected.detach().cpu().numpy(), rtol=rtol, atol=atol)


def pair(make: Callable[[Any], Any], oracle: Any, device: str = "cpu") -> tuple[Any, Any]:
    """The module in both libraries, with the same parameters."""
    ours, theirs = make(gc.nn).double(), make(oracle.nn).double()
    theirs.load_state_dict({n: oracle.from_numpy(t.numpy().copy()) for n, t in ours.state_dict().items()})
    return ours.to(device), theirs


def leaves(m: Any, arrays: list[np.ndarray], device: str = "cpu") -> list[Any]:
    return [m.tensor(a, device=device).requires_grad_() for a in arrays]


def states(state: Any) -> list[Any]:
    return list(state) if isinstance(state, tuple) else [state]


# ---------------------------------------------------------------- recurrent modules
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_sequences(kind: str, bidirectional: bool, device: str, oracle: Any) -> None:
    """Of several lengths, some equal, in any order, from states that are not 0."""
    ours, theirs = pair(lambda nn: getattr(nn, kind)(4, 5, 2, bidirectional=bidirectional), oracle, device)
    rng = np.random.default_rng(0)
    lengths = [3, 6, 1, 3]
    arrays = [rng.standard_normal((6, 4, 4)), *(rng.standard_normal((4 if bidirectional else 2, 4, 5)) for _ in "hc")]
    results = []
    for m, module, place in ((gc, ours, device), (oracle, theirs, "cpu")):
        x, *hx = leaves(m, arrays, place)
        packed = m.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
        out, state = module(packed, tuple(hx) if kind == "LSTM" else hx[0])
        padded, sizes = m.nn.utils.rnn.pad_packed_sequence(out, padding_value=2.0, total_length=7)
        assert sizes.tolist() == lengths
        found = [padded, *states(state)]
        sum((t * t.cos()).sum() for t in found).backward()
        wanted = [x, *hx[: len(found) - 1], *module.parameters()]
        results.append([*found, *(t.grad for t in wanted)])
    for a, b in zip(*results):
        close(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_only_some_gradients(kind: str, oracle: Any) -> None:
    """Of results that are not used, and to weights alone."""
    for use in range(2):
        ours, theirs = pair(lambda nn: getattr(nn, kind)(3, 4), oracle)
        x = np.random.default_rng(0).standard_normal((5, 2, 3))
        for m, module in ((gc, ours), (oracle, theirs)):
            module.bias_hh_l0.requires_grad_(False)
            out, state = module(m.tensor(x))
            (out if use == 0 else states(state)[-1]).square().sum().backward()
        for a, b in zip(ours.parameters(), theirs.parameters()):
            assert (a.grad is None) == (b.grad is None)
            if a.grad is not None:
                close(a.grad, b.grad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [gc.float32, gc.float16, gc.bfloat16])
def test_narrow_dtypes(kind: str, dtype: Any, device: str) -> None:
    """As in float64, but for rounding, which the states undergo at each step."""
    module = getattr(gc.nn, kind)(6, 8, num_layers=2, bidirectional=True).to(dtype)
    x = gc.randn(7, 3, 6).to(dtype)
    found, _ = module.to(device)(x.to(device))
    assert found.dtype is dtype
    expected, _ = copy.deepcopy(module).cpu().double()(x.double())
    _, atol = TOLERANCE[dtype]
    close(found.double(), expected, atol=10 * atol)


def test_many_units(device: str) -> None:
    """More than a block of a kernel, and an odd number; the same on every device."""
    module = gc.nn.LSTM(3, 131)
    x = gc.randn(4, 5, 3)
    expected, (h, c) = module(x)
    found = module.to(device)(x.to(device))
    for a, b in zip((found[0], *found[1]), (expected, h, c)):
        close(a, b, 1e-5, 1e-6)


@pytest.mark.parametrize(
    "kind, name",
    [("LSTM", "c_0"), *((kind, name) for kind in KINDS for name in ("hx", "weight_hh", "bias_hh", "bias_ih"))],
)
@pytest.mark.parametrize("change", [lambda t: t.double(), lambda t: t[..., :-1].contiguous()], ids=["dtype", "shape"])
def test_what_kernels_read_is_checked(kind: str, name: str, change: Callable[[Any], Any], device: str) -> None:
    """A parameter or a state of another dtype or shape is refused, never read as what it is not."""
    module = getattr(gc.nn, kind)(3, 40).to(device)
    states = {state: gc.zeros(1, 12, 40, device=device) for state in (("hx", "c_0") if kind == "LSTM" else ("hx",))}
    if name in states:
        states[name] = change(states[name])
    else:
        setattr(module, f"{name}_l0", gc.nn.Parameter(change(getattr(module, f"{name}_l0").detach())))
    with pytest.raises(RuntimeError):
        module(gc.randn(5, 12, 3, device=device), tuple(states.values()) if kind == "LSTM" else states["hx"])


def test_dropout_between_layers() -> None:
    gc.manual_seed(0)
    module = gc.nn.GRU(3, 4, 2, dropout=0.5)
    x = gc.randn(5, 2, 3)
    assert not gc.equal(module(x)[0], module(x)[0])
    module.eval()
    assert gc.equal(module(x)[0], module(x)[0])
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        gc.nn.GRU(3, 4, dropout=0.5)


def test_cells_are_steps_of_layers() -> None:
    for kind in KINDS:
        module, cell = getattr(gc.nn, kind)(3, 4), getattr(gc.nn, f"{kind}Cell")(3, 4)
        cell.load_state_dict({n[: -len("_l0")]: t for n, t in module.state_dict().items()})
        x = gc.randn(3, 2, 3)
        state, outs = None, []
        for t in x:
            state = cell(t, state)
            outs.append(states(state)[0])
        close(gc.stack(outs), module(x)[0], 1e-6, 1e-7)


BAD: list[Callable[[Any], Any]] = [
    *[lambda m, k=k: getattr(m.nn, k)(3, 4)(m.zeros(0, 2, 3)) for k in KINDS],
    *[lambda m, k=k: getattr(m.nn, k)(3, 4)(m.zeros(3)) for k in KINDS],
    *[lambda m, k=k: getattr(m.nn, k)(3, 4)(m.zeros(5, 2, 7)) for k in KINDS],
    lambda m: m.nn.LSTM(3, 4)(m.zeros(5, 2, 3), (m.zeros(1, 3, 4), m.zeros(1, 2, 4))),
    lambda m: m.nn.LSTM(3, 4)(m.zeros(5, 2, 3), (m.zeros(1, 2, 4), m.zeros(2, 4))),
    lambda m: m.nn.LSTM(3, 4, proj_size=2)(m.zeros(5, 3), (m.zeros(1, 2), m.zeros(1, 2))),
    lambda m: m.nn.GRU(3, 4)(m.zeros(5, 2, 3), m.zeros(1, 3, 4)),
    lambda m: m.nn.GRU(3, 4)(m.zeros(5, 3), m.zeros(1, 3, 4)),
    lambda m: m.nn.RNN(3, 4)(m.zeros(5, 2, 3, dtype=m.float64)),
    lambda m: m.nn.RNN(3, 4, nonlinearity="elu"),
    lambda m: m.nn.RNN(3, 4, dropout=2),
    lambda m: m.nn.RNN(0, 4),
    lambda m: m.nn.RNN(3, 4.0),
    lambda m: m.nn.GRU(3, 4, bias=1),
    lambda m: m.nn.LSTM(3, 4, num_layers=0),
    lambda m: m.nn.LSTM(3, 4, proj_size=4),
    lambda m: m.nn.LSTM(3, 4, proj_size=-1),
    lambda m: m.nn.LSTMCell(3, 4)(m.zeros(2, 5)),
    lambda m: m.nn.LSTMCell(3, 4)(m.zeros(2, 3, 3)),
    lambda m: m.nn.LSTMCell(3, 4)(m.zeros(2, 3), (m.zeros(2, 5), m.zeros(2, 4))),
    lambda m: m.nn.GRUCell(3, 4)(m.zeros(2, 3), m.zeros(1, 4)),
    lambda m: m.nn.GRUCell(3, 4)(m.zeros(2, 3), m.zeros(1, 4, 4)),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.zeros(4, 2, 3), [2, 4]),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.zeros(4, 2, 3), [4, 0]),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.zeros(4, 2, 3), [4]),
    lambda m: m.nn.utils.rnn.pack_padded_sequence(m.zeros(0, 2, 3), [1, 1]),
    lambda m: m.nn.utils.rnn.pad_sequence([]),
    lambda m: m.nn.utils.rnn.pad_sequence([m.zeros(2)], padding_side="x"),
    lambda m: m.nn.utils.rnn.pad_packed_sequence(m.nn.utils.rnn.pack_sequence([m.zeros(3)]), total_length=2),
    lambda m: m.nn.Transformer(4, 2, 1, 1, 8)(m.zeros(3, 2, 4), m.zeros(3, 1, 4)),
    lambda m: m.nn.Transformer(4, 2, 1, 1, 8)(m.zeros(3, 2, 4), m.zeros(3, 2, 5)),
    lambda m: m.nn.TransformerEncoderLayer(4, 2, activation="elu"),
    lambda m: m.nn.functional.dropout1d(m.zeros(3)),
    lambda m: m.nn.functional.alpha_dropout(m.zeros(3), 1.5),
    lambda m: m.nn.functional.unfold(m.zeros(1, 2, 3, 3), 5),
    lambda m: m.nn.functional.fold(m.zeros(1, 8, 5), (3, 3), 2),
    lambda m: m.nn.functional.fold(m.zeros(1, 7, 4), (3, 3), 2),
    lambda m: m.nn.functional.channel_shuffle(m.zeros(2, 3, 2, 2), 2),
    lambda m: m.nn.functional.bilinear(m.zeros(2, 3), m.zeros(2, 4), m.zeros(5, 3, 3)),
    lambda m: m.nn.functional.multi_margin_loss(m.zeros(2, 3), m.zeros(2, dtype=m.int64), p=3),
    lambda m: m.nn.functional.gaussian_nll_loss(m.zeros(2, 3), m.zeros(2, 3), -m.ones(2, 3)),
    lambda m: m.nn.functional.gaussian_nll_loss(m.zeros(2, 3), m.zeros(2, 3), m.ones(3, 3)),
    lambda m: m.nn.functional.embedding_bag(
        m.zeros(2, 3, dtype=m.int64), m.zeros(3, 3), m.zeros(2, dtype=m.int64).sum()[None]
    ),
    lambda m: m.nn.functional.embedding_bag(m.zeros(2, dtype=m.int64), m.zeros(3, 3)),
    lambda m: m.nn.functional.embedding_bag(m.zeros(2, 3, dtype=m.int64), m.zeros(3, 3), mode="min"),
    lambda m: m.nn.functional.max_unpool2d(m.zeros(2, 2), m.zeros(2, 2, dtype=m.int64), 2),
    lambda m: m.nn.functional.max_unpool2d(m.zeros(1, 2, 2), m.zeros(1, 2, 2), 2),
    lambda m: m.nn.functional.max_unpool2d(m.zeros(1, 2, 2), m.zeros(1, 2, 1, dtype=m.int64), 2),
    lambda m: m.nn.functional.max_unpool2d(m.zeros(1, 2, 2), m.zeros(1, 2, 2, dtype=m.int64), 2, output_size=(9, 9)),
    lambda m: m.nn.functional.max_unpool1d(m.zeros(1, 2), m.zeros(1, 2, dtype=m.int64), 2, output_size=(9, 9)),
    lambda m: m.nn.Unflatten(1, "a"),
    lambda m: m.nn.Unflatten(1, (2, "a")),
    lambda m: m.nn.Bilinear(0, 1, 1),
    lambda m: m.zeros(6).unflatten(0, (4, -1)),
    lambda m: m.zeros(6).unflatten(0, ()),
]


@pytest.mark.parametrize("call", BAD)
def test_bad_arguments(call: Callable[[Any], Any]) -> None:
    fails(lambda m, _: call(m), letters=70)


# ---------------------------------------------------------------- packed sequences
def test_pack_and_pad(oracle: Any) -> None:
    parts = [np.arange(n * 2.0).reshape(n, 2) + 10 * n for n in (2, 4, 1, 4)]
    for m in (gc, oracle):
        u = m.nn.utils.rnn
        given = [m.tensor(p) for p in parts]
        packed = u.pack_sequence(given, enforce_sorted=False)
        padded = u.pad_sequence(given, batch_first=True, padding_value=-1.0)
        left = u.pad_sequence(given, padding_side="left")
        back, lengths = u.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0)
        unpacked = u.unpack_sequence(packed)
        split = u.unpad_sequence(padded, lengths, batch_first=True)
        for a, b, c in zip(given, unpacked, split):
            assert a.tolist() == b.tolist() == c.tolist()
        assert back.tolist() == padded.tolist()
        found = [packed.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices, left, lengths]
        if m is gc:
            ours = [t.tolist() for t in found]
    assert (
        ours[1:3] != [] and ours[:2] == [t.tolist() for t in found][:2] and ours[4:] == [t.tolist() for t in found][4:]
    )


def test_packed_sequences_are_moved_and_converted(device: str) -> None:
    packed = rnn.pack_sequence([gc.tensor([1, 2]), gc.tensor([3, 4, 5])], enforce_sorted=False)
    assert packed.to(gc.int64) is packed
    moved = packed.to(device).double()
    assert moved.data.dtype is gc.float64 and moved.data.device.type == device
    assert moved.sorted_indices.device.type == device and moved.batch_sizes.device.type == "cpu"
    assert moved.cpu().data.tolist() == [3, 1, 4, 2, 5] and not moved.cpu().is_cuda
    with pytest.raises(AssertionError, match="length 2"):
        rnn.PackedSequence(gc.zeros(3))
    with pytest.raises(RuntimeError, match="only 4 steps"):
        rnn.pack_padded_sequence(gc.zeros(4, 2), [5, 4])


def test_unpad_leaves_its_argument_alone() -> None:
    x = gc.zeros(4, 3, 2)
    assert [tuple(t.shape) for t in rnn.unpad_sequence(x, gc.tensor([1, 2, 3]))] == [(1, 2), (2, 2), (3, 2)]
    assert x.shape == (4, 3, 2)


# ---------------------------------------------------------------- transformers
@pytest.mark.parametrize("norm_first", [False, True])
def test_masks_of_transformers(norm_first: bool, oracle: Any) -> None:
    options = {"dropout": 0.0, "norm_first": norm_first, "batch_first": True}
    ours, theirs = pair(lambda nn: nn.Transformer(8, 2, 2, 2, 16, **options), oracle)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((3, 5, 8)), rng.standard_normal((3, 4, 8))]
    padding = np.zeros((3, 5), bool)
    padding[1, 3:] = True
    results = []
    for m, module in ((gc, ours), (oracle, theirs)):
        src, tgt = leaves(m, arrays)
        masks = {
            "src_key_padding_mask": m.tensor(padding),
            "memory_key_padding_mask": m.tensor(padding),
            "tgt_mask": module.generate_square_subsequent_mask(4, dtype=m.float64),
            "tgt_is_causal": True,
        }
        out = module(src, tgt, **masks)
        (out * out.cos()).sum().backward()
        results.append([out, src.grad, tgt.grad, *(p.grad for p in module.parameters())])
    for a, b in zip(*results):
        close(a, b)


def test_layers_of_a_stack_are_copies() -> None:
    layer = gc.nn.TransformerEncoderLayer(4, 2, 8)
    stack = gc.nn.TransformerEncoder(layer, 2)
    assert stack.layers[0].linear1.weight is not stack.layers[1].linear1.weight
    assert gc.equal(stack.layers[0].linear1.weight, layer.linear1.weight)


# ---------------------------------------------------------------- dropout
@pytest.mark.parametrize(
    ("name", "shape"), [("dropout1d", (20, 30, 4)), ("dropout2d", (20, 30, 2, 2)), ("dropout3d", (20, 30, 1, 2, 2))]
)
def test_channels_are_dropped_as_a_whole(name: str, shape: tuple[int, ...], device: str) -> None:
    gc.manual_seed(0)
    x = gc.ones(*shape, device=device).requires_grad_()
    out = getattr(gc.nn.functional, name)(x, 0.25)
    channels = out.detach().cpu().numpy().reshape(20, 30, -1)
    assert (channels == channels[:, :, :1]).all()
    assert set(np.unique(channels).round(5)) == {0, np.float32(4 / 3).round(5)}
    assert 0.18 < (channels[..., 0] == 0).mean() < 0.32
    out.sum().backward()
    close(x.grad, out)
    inplace = gc.ones(*shape, device=device)
    assert getattr(gc.nn.functional, name)(inplace, 0.25, inplace=True) is inplace and (inplace == 0).any()
    assert getattr(gc.nn.functional, name)(x, 0.25, training=False) is x


@pytest.mark.parametrize("channels", [False, True])
def test_alpha_dropout_keeps_the_moments(channels: bool) -> None:
    gc.manual_seed(0)
    x = gc.randn(300, 200, 2)
    name = "feature_alpha_dropout" if channels else "alpha_dropout"
    out = getattr(gc.nn.functional, name)(x, 0.4, training=True)
    assert abs(float(out.mean())) < 0.02 and abs(float(out.std()) - 1) < 0.02
    out = getattr(gc.nn.functional, name)(gc.zeros(300, 200, 2), 0.4, training=True)
    dropped = out < 0
    assert 0.37 < float(dropped.float().mean()) < 0.43
    assert bool((dropped[..., 0] == dropped[..., 1]).all()) == channels


def test_random_slopes() -> None:
    gc.manual_seed(0)
    x = -gc.ones(10000)
    slopes = -gc.nn.functional.rrelu(x, 0.2, 0.6, training=True)
    assert 0.2 <= float(slopes.min()) < 0.21 and 0.59 < float(slopes.max()) <= 0.6
    assert abs(float(slopes.mean()) - 0.4) < 0.01
    assert gc.nn.functional.rrelu_(x, 0.2, 0.6, True) is x and float(x.max()) < 0


def test_gumbel_softmax() -> None:
    gc.manual_seed(0)
    logits = gc.tensor([0.2, 0.3, 0.5]).log().expand(20000, 3).clone().requires_grad_()
    hard = gc.nn.functional.gumbel_softmax(logits, 0.5, hard=True)
    np.testing.assert_allclose(hard.detach().mean(0).numpy(), [0.2, 0.3, 0.5], atol=0.02)
    assert set(np.unique(hard.detach().numpy().round(5))) == {0, 1}
    hard[:, 0].sum().backward()
    assert float(logits.grad.abs().max()) > 0
    soft = gc.nn.functional.gumbel_softmax(logits, 2.0)
    np.testing.assert_allclose(soft.detach().sum(1).numpy(), 1, rtol=1e-5)


def test_rows_of_bags_are_scaled(oracle: Any) -> None:
    ours, theirs = pair(lambda nn: nn.EmbeddingBag(5, 3, max_norm=1.0), oracle)
    for m, module in ((gc, ours), (oracle, theirs)):
        module(m.tensor([[1, 1], [2, 0]])).square().sum().backward()
    close(ours.weight, theirs.weight)
    close(ours.weight.grad, theirs.weight.grad)


def test_gradients_of_bags_by_frequency() -> None:
    """(PyTorch's counts are those of other rows.)"""
    weight = gc.ones(4, 2).requires_grad_()
    index = gc.tensor([[1, 1], [1, 0]])
    gc.nn.functional.embedding_bag(index, weight, mode="sum", scale_grad_by_freq=True).sum().backward()
    assert weight.grad.tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


def test_dictionary_of_parameters() -> None:
    made = gc.nn.ParameterDict({"a": gc.ones(2), "b": 3})
    assert (
        isinstance(made["a"], gc.nn.Parameter) and made["b"] == 3 and [n for n, _ in made.named_parameters()] == ["a"]
    )
    made |= {"c": gc.zeros(1)}
    assert list(made) == ["a", "b", "c"] and list(reversed(made)) == ["c", "b", "a"] and len(made) == 3
    assert made.popitem()[0] == "c" and "c" not in made and made.get("c") is None
    assert made.setdefault("d", gc.ones(1)) is made["d"]
    assert list((made | {"e": 1}).keys()) == ["a", "b", "d", "e"] and "e" not in made
    assert made.pop("b") == 3 and dict(made.items())["a"] is made["a"] and len(list(made.values())) == 2
    assert list(made.fromkeys(["x", "y"], 1).items()) == [("x", 1), ("y", 1)]
    made.clear()
    assert not len(made) and not list(made.parameters())
    with pytest.raises(KeyError):
        made["a"]
    with pytest.raises(TypeError, match="not a string"):
        made[1] = gc.ones(1)
    with pytest.raises(ValueError, match="has length 3; 2 is required"):
        made.update([(1, 2, 3)])
