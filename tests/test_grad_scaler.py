"""GradScaler beside PyTorch's, over steps with infinities, and on the device."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest

import gradcore as gc

OPTIONS = {"init_scale": 16.0, "growth_factor": 1.5, "backoff_factor": 0.75, "growth_interval": 3}
# What the gradients are multiplied by in each step.
STEPS = [1.0, 1.0, math.inf, 1.0, 1.0, 1.0, math.nan, -math.inf, 1.0, 1.0, 1.0, 1.0, 1.0]


def _trained(m: Any, device: str, optimizer: str = "SGD", unscale: bool = False, **options: Any) -> Any:
    """The scales, counters and weights after each of the steps."""
    scaler = m.amp.GradScaler(device, **OPTIONS)
    weights = [m.tensor([1.0, 2.0, 3.0], device=device), m.tensor([[4.0]], device=device, dtype=m.float64)]
    for w in weights:
        w.requires_grad_()
    stepper = getattr(m.optim, optimizer)(weights, lr=0.01, **options)
    seen = []
    for factor in STEPS:
        stepper.zero_grad()
        loss = (weights[0] * factor).sum() + (weights[1] ** 2).sum()
        scaler.scale(loss).backward()
        if unscale:
            scaler.unscale_(stepper)
        scaler.step(stepper)
        scaler.update()
        state = scaler.state_dict()
        seen.append([state["scale"], state["_growth_tracker"], *[w.detach().cpu().tolist() for w in weights]])
    return seen


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_run_with_infinities_is_pytorchs(device: str, optimizer: str, unscale: bool, oracle: Any) -> None:
    ours, theirs = _trained(gc, device, optimizer, unscale), _trained(oracle, "cpu", optimizer, unscale)
    assert [row[:2] for row in ours] == [row[:2] for row in theirs]
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a[2], b[2], rtol=1e-6)
        np.testing.assert_allclose(a[3], b[3], rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta"])
def test_capturable_steps_are_skipped_on_the_device(device: str, optimizer: str) -> None:
    options = {} if optimizer == "Adagrad" else {"capturable": True}
    ours, plain = _trained(gc, device, optimizer, **options), _trained(gc, device, optimizer)
    for a, b in zip(ours, plain):
        assert a[:2] == b[:2]
        np.testing.assert_allclose(a[2], b[2], rtol=2e-5)


def test_a_capturable_step_waits_for_nothing(_cuda_reason: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if _cuda_reason is not None:
        pytest.skip(_cuda_reason)
    w = gc.ones(3, device="cuda", requires_grad=True)
    optimizer, scaler = gc.optim.Adam([w], capturable=True), gc.amp.GradScaler()
    from gradcore.backends.cuda import CudaBackend

    asked = []
    to_host = CudaBackend.to_host
    for factor in (1.0, math.inf, 1.0):
        scaler.scale((w * factor).sum()).backward()
        with monkeypatch.context() as patch:
            patch.setattr(CudaBackend, "to_host", lambda self, array: (asked.append(1), to_host(self, array))[1])
            scaler.step(optimizer)
            scaler.update()
        optimizer.zero_grad()
    assert not asked
    assert int(optimizer.state[w]["step"]) == 2


def test_halves_are_refused_and_outputs_may_be_nested(device: str) -> None:
    scaler = gc.amp.GradScaler(device, init_scale=4.0)
    w = gc.ones(2, dtype=gc.float16, device=device, requires_grad=True)
    assert scaler.get_scale() == 4.0
    scaled = scaler.scale([w * 1, (gc.ones(1, device=device),)])
    assert scaled[0].dtype is gc.float16 and scaled[1][0].tolist() == [4.0] and isinstance(scaled[1], tuple)
    scaled[0].sum().backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(gc.optim.SGD([w], lr=0.1))
    with pytest.raises(ValueError, match="outputs must be a Tensor or an iterable of Tensors"):
        scaler.scale(3)


def test_order_of_calls() -> None:
    scaler = gc.amp.GradScaler("cpu")
    w = gc.ones(2, requires_grad=True)
    optimizer = gc.optim.SGD([w], lr=0.1)
    with pytest.raises(AssertionError, match="Attempted step but _scale is None"):
        scaler.step(optimizer)
    scaler.scale(w.sum()).backward()
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called on this optimizer since the last update"):
        scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="Closure use is not currently supported"):
        scaler.step(optimizer, closure=lambda: 0)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"step\(\) has already been called"):
        scaler.step(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) is being called after step\(\)"):
        scaler.unscale_(optimizer)
    with pytest.raises(AssertionError, match="only be pickled"):
        pickle.dumps(scaler)
    scaler.update(8.0)
    assert scaler.get_scale() == 8.0
    scaler.update(gc.tensor([32.0]))
    assert scaler.get_scale() == 32.0


def test_states(oracle: Any) -> None:
    ours, theirs = gc.amp.GradScaler("cpu", **OPTIONS), oracle.amp.GradScaler("cpu", **OPTIONS)
    w = gc.ones(1, requires_grad=True)
    optimizer = gc.optim.SGD([w], lr=0.1)
    ours.scale(w.sum()).backward()
    ours.step(optimizer)
    ours.update()
    theirs.load_state_dict(ours.state_dict())
    assert theirs.state_dict() == ours.state_dict()
    other = gc.amp.GradScaler("cpu")
    other.load_state_dict(theirs.state_dict())
    assert other.state_dict() == ours.state_dict() == pickle.loads(pickle.dumps(ours)).state_dict()
    assert copy.deepcopy(ours).state_dict() == ours.state_dict()
    disabled = gc.amp.GradScaler("cpu", enabled=False)
    assert disabled.state_dict() == {} and disabled.get_scale() == 1.0 and not disabled.is_enabled()
    assert disabled.scale(w) is w
    with pytest.raises(RuntimeError, match="The source state dict is empty"):
        ours.load_state_dict({})
    with pytest.raises(AssertionError, match="growth factor must be > 1"):
        gc.amp.GradScaler("cpu", growth_factor=1.0)
    with pytest.raises(AssertionError, match="backoff factor must be < 1"):
        gc.amp.GradScaler("cpu", backoff_factor=1.0)


def test_the_scale_never_becomes_infinite() -> None:
    scaler = gc.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=1)
    w = gc.ones(1, requires_grad=True)
    optimizer = gc.optim.SGD([w], lr=0.1)
    scaler.scale((w * 0).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2.0**127
