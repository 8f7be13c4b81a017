"""`nn.init` and `nn.utils` beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import fails
from conftest import TOLERANCE

import gradcore as gc
from gradcore.nn import init
from gradcore.nn.utils import parametrizations, parametrize

RTOL, ATOL = TOLERANCE[gc.float64]


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=RTOL, atol=10 * ATOL)


def copied(ours: Any, theirs: Any, oracle: Any) -> None:
    """Our state into their module, by name."""
    state = ours.state_dict()
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict({n: oracle.from_numpy(t.numpy().copy()) for n, t in state.items()})


def same_step(ours: Any, theirs: Any, shape: tuple[int, ...], oracle: Any) -> None:
    """The same results and gradients, in training."""
    x = np.random.default_rng(0).standard_normal(shape)
    for module, t in ((ours, gc.tensor(x)), (theirs, oracle.tensor(x))):
        module.out = module(t)
        (module.out * module.out.cos()).sum().backward()
    close(ours.out, theirs.out)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        close(a.grad, b.grad)


# ---------------------------------------------------------------- initial values
@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 2, 3), (4, 4)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    gc.manual_seed(0)
    t = init.orthogonal_(gc.empty(*shape, dtype=gc.float64), gain=2.0)
    m = t.reshape(shape[0], -1).numpy() / 2
    small = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(small, np.eye(min(m.shape)), atol=1e-12)


def test_sparse() -> None:
    gc.manual_seed(0)
    t = init.sparse_(gc.empty(10, 7), 0.25)
    assert ((t == 0).sum(0) == 3).all()
    assert 0.005 < float(t[t != 0].std()) < 0.02


@pytest.mark.parametrize(("shape", "groups"), [((4, 2, 3), 1), ((4, 2, 3, 5), 2), ((6, 4, 1, 2, 3), 3)])
def test_dirac(shape: tuple[int, ...], groups: int, oracle: Any) -> None:
    found, expected = init.dirac_(gc.empty(*shape), groups), oracle.nn.init.dirac_(oracle.empty(shape), groups)
    np.testing.assert_array_equal(found.numpy(), expected.numpy())


BAD: list[Callable[[Any], Any]] = [
    lambda m: m.nn.init.orthogonal_(m.empty(3)),
    lambda m: m.nn.init.sparse_(m.empty(3, 3, 3), 0.1),
    lambda m: m.nn.init.dirac_(m.empty(3, 3)),
    lambda m: m.nn.init.dirac_(m.empty(3, 3, 3), 2),
    lambda m: m.nn.utils.remove_weight_norm(m.nn.Identity()),
    lambda m: m.nn.utils.parametrize.register_parametrization(m.nn.Identity(), "weight", m.nn.Identity()),
    lambda m: m.nn.utils.parametrize.remove_parametrizations(m.nn.Identity(), "weight"),
    lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Identity()),
    lambda m: m.nn.utils.parametrizations.spectral_norm(m.nn.Linear(2, 2), n_power_iterations=0),
]


@pytest.mark.parametrize("call", BAD)
def test_bad_arguments(call: Callable[[Any], Any]) -> None:
    fails(lambda m, _: call(m))


# ---------------------------------------------------------------- weight norm and spectral norm
@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm(dim: int | None, old: bool, oracle: Any) -> None:
    made = []
    for m in (gc, oracle):
        space = m.nn.utils if old else m.nn.utils.parametrizations
        made.append(space.weight_norm(m.nn.Conv1d(3, 4, 2).double(), dim=dim))
    ours, theirs = made
    before = ours.weight.detach().clone()
    copied(ours, theirs, oracle)
    same_step(ours, theirs, (2, 3, 5), oracle)
    close(ours.weight, before)
    if old:
        gc.nn.utils.remove_weight_norm(ours)
    else:
        parametrize.remove_parametrizations(ours, "weight")
    assert set(ours.state_dict()) == {"weight", "bias"} and isinstance(ours.weight, gc.nn.Parameter)
    assert type(ours) is gc.nn.Conv1d
    close(ours.weight, before)


def test_two_weight_norms() -> None:
    with pytest.warns(FutureWarning):
        layer = gc.nn.utils.weight_norm(gc.nn.Linear(2, 2))
    with pytest.warns(FutureWarning), pytest.raises(RuntimeError, match="two weight_norm hooks"):
        gc.nn.utils.weight_norm(layer)


@pytest.mark.parametrize("kind", ["Linear", "ConvTranspose1d", "bias"])
def test_spectral_norm(kind: str, oracle: Any) -> None:
    gc.manual_seed(0)
    made = []
    for m in (gc, oracle):
        layer = m.nn.ConvTranspose1d(3, 4, 2) if kind == "ConvTranspose1d" else m.nn.Linear(3, 4)
        made.append(m.nn.utils.parametrizations.spectral_norm(layer.double(), "bias" if kind == "bias" else "weight"))
    ours, theirs = made
    copied(ours, theirs, oracle)
    assert repr(ours) == repr(theirs)
    same_step(ours, theirs, (2, 3, 3), oracle)
    for name, t in ours.state_dict().items():
        close(t, theirs.state_dict()[name])
    if kind == "Linear":
        for _ in range(50):
            weight = ours.weight
        assert abs(np.linalg.svd(weight.detach().numpy())[1][0] - 1) < 1e-6


# ---------------------------------------------------------------- parametrizations
class Doubled(gc.nn.Module):
    def forward(self, x: Any) -> Any:
        return x * 2

    def right_inverse(self, x: Any) -> Any:
        return x / 2


class Shifted(gc.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.by = gc.nn.Parameter(gc.tensor(0.5))

    def forward(self, x: Any) -> Any:
        return x + self.by

    def right_inverse(self, x: Any) -> Any:
        return x - self.by


def test_parametrizations_in_a_row() -> None:
    layer = gc.nn.Linear(2, 3)
    before = layer.weight.detach().clone()
    for made in (Doubled(), Shifted()):
        parametrize.register_parametrization(layer, "weight", made)
        np.testing.assert_allclose(layer.weight.detach(), before, rtol=1e-6)
    assert parametrize.is_parametrized(layer) and not parametrize.is_parametrized(layer, "bias")
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original", "parametrizations.weight.1.by"]
    layer.weight = gc.ones(3, 2)
    np.testing.assert_allclose(layer.parametrizations.weight.original.detach(), np.full((3, 2), 0.25))
    layer(gc.ones(2)).sum().backward()
    assert float(layer.parametrizations["weight"][1].by.grad) == 6
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    np.testing.assert_allclose(layer.weight.detach(), np.full((3, 2), 0.25))
    assert type(layer) is gc.nn.Linear and not parametrize.is_parametrized(layer)


def test_a_parametrization_may_not_change_the_shape() -> None:
    layer = gc.nn.Linear(2, 3)
    with pytest.raises(ValueError, match="may not change the shape"):
        parametrize.register_parametrization(layer, "weight", gc.nn.Flatten(0))
    assert type(layer) is gc.nn.Linear and list(layer.state_dict()) == ["weight", "bias"]
    parametrize.register_parametrization(layer, "weight", gc.nn.Flatten(0), unsafe=True)
    assert layer.weight.shape == (6,)


def test_only_one_module_is_parametrized() -> None:
    one, other = parametrizations.weight_norm(gc.nn.Linear(2, 2)), gc.nn.Linear(2, 2)
    assert not parametrize.is_parametrized(other) and isinstance(other.weight, gc.nn.Parameter)
    assert isinstance(one, gc.nn.Linear)


# ---------------------------------------------------------------- fusion
@pytest.mark.parametrize("transpose", [False, True])
def test_convolution_and_batch_norm(transpose: bool) -> None:
    kind = gc.nn.ConvTranspose2d if transpose else gc.nn.Conv2d
    conv, bn = kind(3, 4, 2, bias=transpose).double(), gc.nn.BatchNorm2d(4, affine=transpose).double()
    x = gc.randn(2, 3, 5, 5, dtype=gc.float64)
    with pytest.raises(AssertionError, match="Fusion only for eval!"):
        gc.nn.utils.fuse_conv_bn_eval(conv, bn, transpose)
    bn(conv(x))  # running averages that are not 0 and 1
    conv.eval(), bn.eval()
    close(gc.nn.utils.fuse_conv_bn_eval(conv, bn, transpose)(x), bn(conv(x)))


def test_linear_and_batch_norm() -> None:
    linear, bn = gc.nn.Linear(3, 4).double(), gc.nn.BatchNorm1d(4).double()
    x = gc.randn(6, 3, dtype=gc.float64)
    bn(linear(x))
    linear.eval(), bn.eval()
    close(gc.nn.utils.fuse_linear_bn_eval(linear, bn)(x), bn(linear(x)))
