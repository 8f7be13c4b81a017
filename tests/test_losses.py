"""`nn.functional` and the loss modules: values, gradients and messages equal to PyTorch's; definitions without it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE

import gradcore as gc
from gradcore import nn
from gradcore.nn import functional as F

rng = np.random.default_rng(7)
REDUCTIONS = ("mean", "sum", "none")


def renamed(text: str) -> str:
    """A message of PyTorch as it reads here."""
    return text.replace("torch.", "gradcore.")


def weights_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.arange(1, int(np.prod(shape)) + 1, dtype=np.float64).reshape(shape)


def value_and_gradients(
    module: Any,
    f: Callable[..., Any],
    arrays: list[np.ndarray],
    dtype: str,
    kwargs: dict[str, Any],
    device: str = "cpu",
) -> list[np.ndarray]:
    """The result of `f`, and the gradients of a weighted sum of its elements by every floating point input."""
    given = {n: module.tensor(v, device=device) for n, v in kwargs.items() if isinstance(v, np.ndarray)}
    kwargs = {**kwargs, **{n: v.to(getattr(module, dtype)) for n, v in given.items()}}
    inputs = [module.tensor(a, device=device) for a in arrays]
    inputs = [t.to(getattr(module, dtype)).requires_grad_() if t.is_floating_point() else t for t in inputs]
    out = f(*inputs, **kwargs)
    (out * module.tensor(weights_of(tuple(out.shape)), device=device).to(out.dtype)).sum().backward()
    found = [out.detach()] + [t.grad for t in inputs if t.is_floating_point()]
    return [t.double().cpu().numpy() for t in found]


def same(
    oracle: Any, name: str, arrays: list[np.ndarray], dtype: str = "float64", device: str = "cpu", **kwargs: Any
) -> None:
    """Values and gradients are PyTorch's."""
    ours = value_and_gradients(gc, getattr(F, name), arrays, dtype, kwargs, device)
    theirs = value_and_gradients(oracle, getattr(oracle.nn.functional, name), arrays, dtype, kwargs)
    rtol, atol = TOLERANCE[getattr(gc, dtype)]
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        # The sums run over some tens of elements.
        np.testing.assert_allclose(a, b, rtol=rtol, atol=30 * atol)


def same_error(oracle: Any, name: str, arrays: list[Any], **kwargs: Any) -> None:
    """Both raise the same type with the same message."""
    convert = {n: v for n, v in kwargs.items() if isinstance(v, np.ndarray)}
    with pytest.raises(Exception) as theirs:
        getattr(oracle.nn.functional, name)(
            *map(oracle.tensor, arrays), **{**kwargs, **{n: oracle.tensor(v) for n, v in convert.items()}}
        )
    with pytest.raises(theirs.type, match=re.escape(renamed(str(theirs.value)))):
        getattr(F, name)(*map(gc.tensor, arrays), **{**kwargs, **{n: gc.tensor(v) for n, v in convert.items()}})


# ---------------------------------------------------------------- class targets
CLASS_SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((5,), ()),
    ((4, 5), (4,)),
    ((2, 5, 3), (2, 3)),
    ((2, 5, 3, 2), (2, 3, 2)),
    ((2, 5, 1, 2, 2), (2, 1, 2, 2)),
]
CLASS_OPTIONS: list[dict[str, Any]] = [
    {},
    {"weight": np.array([0.5, 1.0, 2.0, 0.1, 3.0])},
    {"ignore_index": 2},
    {"ignore_index": -1, "weight": np.array([0.5, 1.0, 2.0, 0.1, 3.0])},
]


def class_inputs(shapes: tuple[tuple[int, ...], tuple[int, ...]], ignore: int | None) -> list[np.ndarray]:
    scores, target = rng.standard_normal(shapes[0]) * 3, np.asarray(rng.integers(0, 5, shapes[1]))
    if ignore is not None and target.size > 1:
        target.flat[0] = ignore
    return [scores, target]


@pytest.mark.parametrize("shapes", CLASS_SHAPES, ids=str)
@pytest.mark.parametrize("options", CLASS_OPTIONS, ids=lambda o: "+".join(o) or "plain")
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy(oracle: Any, shapes: Any, options: Any, reduction: str, smoothing: float) -> None:
    arrays = class_inputs(shapes, options.get("ignore_index"))
    same(oracle, "cross_entropy", arrays, reduction=reduction, label_smoothing=smoothing, **options)


@pytest.mark.parametrize("shapes", CLASS_SHAPES, ids=str)
@pytest.mark.parametrize("options", CLASS_OPTIONS, ids=lambda o: "+".join(o) or "plain")
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_nll_loss(oracle: Any, shapes: Any, options: Any, reduction: str) -> None:
    same(oracle, "nll_loss", class_inputs(shapes, options.get("ignore_index")), reduction=reduction, **options)


@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("target", [2, [2], [2, 2], [2, 0]], ids=str)
def test_what_is_ignored_has_no_gradient(oracle: Any, device: str, name: str, reduction: str, target: Any) -> None:
    index = np.asarray(target)
    scores = rng.standard_normal((*index.shape, 5))
    if name == "nll_loss":
        scores[..., 0] = -np.inf  # as a logarithm of a probability may be, where the target is another
        index = np.where(index == 0, 1, index)
    same(oracle, name, [scores, index], reduction=reduction, ignore_index=2, device=device)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 5, 3)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_with_probabilities(
    oracle: Any, shape: tuple[int, ...], reduction: str, smoothing: float, weighted: bool
) -> None:
    target = rng.random(shape)
    options = {"weight": np.array([0.5, 1.0, 2.0, 0.1, 3.0])} if weighted else {}
    arrays = [rng.standard_normal(shape), target / target.sum()]
    same(oracle, "cross_entropy", arrays, reduction=reduction, label_smoothing=smoothing, **options)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_cross_entropy_dtypes(oracle: Any, dtype: str) -> None:
    arrays = [rng.standard_normal((8, 10)), rng.integers(0, 10, 8)]
    ours = value_and_gradients(gc, F.cross_entropy, arrays, dtype, {})
    theirs = value_and_gradients(oracle, oracle.nn.functional.cross_entropy, arrays, dtype, {})
    rtol, atol = TOLERANCE[getattr(gc, dtype)]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def test_cross_entropy_on_devices(oracle: Any, device: str) -> None:
    arrays = class_inputs(((6, 5), (6,)), 2)
    weight = np.array([0.5, 1.0, 2.0, 0.1, 3.0])
    for smoothing in (0.0, 0.1):
        same(
            oracle, "cross_entropy", arrays, "float32", device, ignore_index=2, weight=weight, label_smoothing=smoothing
        )


def test_large_logits_stay_finite() -> None:
    logits = gc.tensor([[1e30, -1e30], [80.0, -80.0]], requires_grad=True)
    loss = F.cross_entropy(logits, gc.tensor([0, 1]), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [0.0, 160.0])
    loss.sum().backward()
    np.testing.assert_allclose(logits.grad.numpy(), [[0.0, 0.0], [1.0, -1.0]], atol=1e-30)
    extreme = F.binary_cross_entropy_with_logits(
        gc.tensor([-200.0, 200.0, 0.0]), gc.tensor([1.0, 1.0, 1.0]), reduction="none"
    )
    np.testing.assert_allclose(extreme.numpy(), [200.0, 0.0, np.log(2)], rtol=1e-6)


def test_all_targets_ignored() -> None:
    logits = gc.tensor(rng.standard_normal((2, 3)), requires_grad=True)
    target = gc.tensor([-100, -100])
    assert F.cross_entropy(logits, target).isnan().item()
    assert F.cross_entropy(logits, target, reduction="sum").item() == 0


def test_cross_entropy_is_log_softmax_and_nll() -> None:
    scores, target = class_inputs(((7, 5), (7,)), None)
    logits = gc.tensor(scores)
    expected = F.nll_loss(F.log_softmax(logits, 1), gc.tensor(target))
    assert F.cross_entropy(logits, gc.tensor(target)).item() == pytest.approx(expected.item(), rel=1e-12)
    by_hand = -np.log(np.exp(scores[range(7), target]) / np.exp(scores).sum(1)).mean()
    assert expected.item() == pytest.approx(by_hand, rel=1e-12)


def test_uint8_targets(oracle: Any) -> None:
    same(oracle, "cross_entropy", [rng.standard_normal((4, 5)), np.array([0, 4, 2, 1], np.uint8)])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_higher_derivatives(smoothing: float) -> None:
    logits = gc.tensor(rng.standard_normal((3, 4)), requires_grad=True)
    target = gc.tensor([0, 3, 1])
    for reduction in REDUCTIONS:

        def f(x: Any, reduction: str = reduction) -> Any:
            return F.cross_entropy(x, target, reduction=reduction, label_smoothing=smoothing)

        assert gc.autograd.gradcheck(f, (logits,))
        assert gc.autograd.gradgradcheck(f, (logits,))


CLASS_MISTAKES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "batch sizes": ([np.ones((3, 5)), np.zeros(4, np.int64)], {}),
    "several targets a row": ([np.ones((3, 5)), np.zeros((3, 2), np.int64)], {}),
    "spatial sizes": ([np.ones((3, 5, 2)), np.zeros((3, 4), np.int64)], {}),
    "weight size": ([np.ones((3, 5)), np.zeros(3, np.int64)], {"weight": np.ones(4)}),
    "float target": ([np.ones((3, 5)), np.zeros(3)], {}),
    "int32 target": ([np.ones((3, 5)), np.zeros(3, np.int32)], {}),
    "no dimension": ([np.ones(()), np.zeros((1,), np.int64)], {}),
    "reduction": ([np.ones((3, 5)), np.zeros(3, np.int64)], {"reduction": "average"}),
}


@pytest.mark.parametrize("mistake", CLASS_MISTAKES)
def test_class_target_errors(oracle: Any, mistake: str) -> None:
    arrays, kwargs = CLASS_MISTAKES[mistake]
    same_error(oracle, "nll_loss", arrays, **kwargs)
    if mistake != "no dimension":  # there PyTorch's cross_entropy fails in log_softmax
        same_error(oracle, "cross_entropy", arrays, **kwargs)


def test_probability_target_errors(oracle: Any) -> None:
    p = np.full((2, 3), 1 / 3)
    same_error(oracle, "cross_entropy", [p, np.ones((2, 3), np.int64)])
    same_error(oracle, "cross_entropy", [p, p], ignore_index=1)
    same_error(oracle, "cross_entropy", [p, p], weight=np.ones(2))
    same_error(oracle, "cross_entropy", [p, p], label_smoothing=1.5)


@pytest.mark.parametrize("bad", [5, -1])
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_target_out_of_range(name: str, bad: int) -> None:
    with pytest.raises(IndexError, match=f"{name}.*out of bounds"):
        getattr(F, name)(gc.ones(2, 5), gc.tensor([0, bad]))


# ---------------------------------------------------------------- regression
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_regression(oracle: Any, name: str, reduction: str, dtype: str) -> None:
    arrays = [rng.standard_normal((3, 4)), rng.standard_normal((3, 4))]
    same(oracle, name, arrays, dtype, reduction=reduction)
    if dtype == "float64":
        same(oracle, name, arrays, reduction=reduction, weight=rng.random((3, 4)))


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss"])
def test_regression_broadcasts_with_a_warning(oracle: Any, name: str) -> None:
    arrays = [rng.standard_normal((3, 1)), rng.standard_normal((3,))]
    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        getattr(oracle.nn.functional, name)(*map(oracle.tensor, arrays))
    with pytest.warns(UserWarning, match=re.escape(renamed(str(theirs[0].message)))) as ours:
        getattr(F, name)(*map(gc.tensor, arrays))
    assert ours[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(oracle, name, arrays)


def test_regression_errors(oracle: Any) -> None:
    for name in ("mse_loss", "l1_loss"):
        same_error(oracle, name, [np.ones(3), np.ones(3)], weight=np.ones(2))
        same_error(oracle, name, [np.ones(3), np.ones(3)], weight=np.ones(3), reduction="average")
        same_error(oracle, name, [np.ones(3), np.ones(3)], reduction="average")


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("options", [(), ("weight",), ("pos_weight",), ("weight", "pos_weight")], ids=str)
def test_bce_with_logits(oracle: Any, reduction: str, options: tuple[str, ...]) -> None:
    arrays = [rng.standard_normal((3, 4)) * 5, rng.random((3, 4))]
    given = {"weight": rng.random((3, 1)), "pos_weight": rng.random(4) + 0.5}
    kwargs = {name: given[name] for name in options}
    same(oracle, "binary_cross_entropy_with_logits", arrays, reduction=reduction, **kwargs)


def test_bce_errors(oracle: Any) -> None:
    same_error(oracle, "binary_cross_entropy_with_logits", [np.ones(3), np.ones(2)])
    same_error(oracle, "binary_cross_entropy_with_logits", [np.ones(3), np.ones(3)], reduction="average")


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "BCEWithLogitsLoss"])
def test_legacy_arguments_are_refused(loss: str) -> None:
    with pytest.raises(ValueError, match="reduction='sum'"):
        getattr(nn, loss)(size_average=False)
    with pytest.raises(ValueError, match="reduction='none'"):
        getattr(nn, loss)(reduce=False)


def test_modules_call_the_functions(oracle: Any) -> None:
    scores, target = class_inputs(((4, 5), (4,)), 2)
    x, y = gc.tensor(scores), gc.tensor(target)
    weight = gc.tensor([0.5, 1.0, 2.0, 0.1, 3.0], dtype=gc.float64)
    pairs = [
        (
            nn.CrossEntropyLoss(weight, ignore_index=2, reduction="sum", label_smoothing=0.1),
            F.cross_entropy(x, y, weight, ignore_index=2, reduction="sum", label_smoothing=0.1),
            y,
        ),
        (nn.NLLLoss(weight, ignore_index=2), F.nll_loss(x, y, weight, ignore_index=2), y),
        (nn.MSELoss(reduction="sum"), F.mse_loss(x, x * 2, reduction="sum"), x * 2),
        (nn.L1Loss(), F.l1_loss(x, x * 2), x * 2),
        (
            nn.BCEWithLogitsLoss(pos_weight=weight),
            F.binary_cross_entropy_with_logits(x, x.sigmoid(), pos_weight=weight),
            x.sigmoid(),
        ),
    ]
    for module, expected, t in pairs:
        assert module(x, t).item() == expected.item()
        assert repr(module) == f"{type(module).__name__}()"
    assert list(nn.BCEWithLogitsLoss(pos_weight=weight).state_dict()) == ["pos_weight"]


# ---------------------------------------------------------------- activations and dropout
@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid"])
def test_activations(oracle: Any, name: str) -> None:
    same(oracle, name, [np.linspace(-3, 3, 8).reshape(2, 4)])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("ndim", [1, 2, 3, 4])
def test_implicit_softmax_dimension(oracle: Any, name: str, ndim: int) -> None:
    x = rng.standard_normal((2, 3, 4, 2)[:ndim])
    with warnings.catch_warnings(record=True) as theirs:
        warnings.simplefilter("always")
        expected = getattr(oracle.nn.functional, name)(oracle.tensor(x)).numpy()
    with pytest.warns(UserWarning, match=re.escape(str(theirs[0].message))) as ours:
        found = getattr(F, name)(gc.tensor(x))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    assert ours[0].filename == __file__
    same(oracle, name, [x], dim=-1)


def test_softmax_module_warns_at_its_caller() -> None:
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax") as caught:
        nn.Softmax()(gc.ones(2, 2))
    assert caught[0].filename == __file__


def test_softmax_dtype() -> None:
    assert F.softmax(gc.ones(2, 2), 1, dtype=gc.float64).dtype is gc.float64


def test_linear(oracle: Any) -> None:
    for shape in ((3,), (2, 3), (2, 4, 3)):
        same(oracle, "linear", [rng.standard_normal(shape), rng.standard_normal((5, 3)), rng.standard_normal(5)])
        same(oracle, "linear", [rng.standard_normal(shape), rng.standard_normal((5, 3))])


@pytest.mark.parametrize("inplace", [False, True])
def test_dropout(device: str, inplace: bool) -> None:
    x = gc.ones(2000, device=device, requires_grad=True)
    out = F.dropout(x * 1, p=0.25, inplace=inplace)
    kept = out.detach().cpu().numpy() != 0
    # Four standard deviations of the binomial distribution.
    assert abs(kept.mean() - 0.75) < 4 * (0.75 * 0.25 / 2000) ** 0.5
    np.testing.assert_allclose(out.detach().cpu().numpy()[kept], 1 / 0.75, rtol=1e-6)
    out.sum().backward()
    # The backward pass drops the same elements.
    np.testing.assert_array_equal(x.grad.cpu().numpy(), out.detach().cpu().numpy())


def test_dropout_draws() -> None:
    x = gc.ones(100)
    first, second = F.dropout(x), F.dropout(x)
    assert not gc.equal(first, second)
    gc.manual_seed(3)
    a = F.dropout(x)
    gc.manual_seed(3)
    assert gc.equal(a, F.dropout(x))


def test_dropout_limits() -> None:
    x = gc.ones(5, requires_grad=True)
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    nothing = F.dropout(x, 1.0)
    assert nothing.tolist() == [0.0] * 5
    nothing.sum().backward()
    assert x.grad.tolist() == [0.0] * 5
    y = gc.ones(5)
    assert F.dropout(y, 1.0, inplace=True) is y and y.tolist() == [0.0] * 5
    module = nn.Dropout(0.5)
    assert module.eval()(x) is x
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1, but got 1.5"):
        F.dropout(x, 1.5)
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1, but got -0.1"):
        nn.Dropout(-0.1)
