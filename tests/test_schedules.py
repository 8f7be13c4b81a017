"""Learning rate schedules and averages of weights beside PyTorch's."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from parity import outcome

import gradcore as gc
from gradcore.optim import SGD, lr_scheduler

EPOCHS = 60


class Decay:
    """A function of the step with an attribute."""

    def __init__(self, rate: float):
        self.rate = rate

    def __call__(self, n: float) -> float:
        return self.rate**n


def one(t: Any) -> Any:
    return t.ones(1, requires_grad=True)


def sgd(t: Any) -> Any:
    return t.optim.SGD([{"params": [one(t)], "lr": 0.5}, {"params": [one(t)]}], lr=0.1, momentum=0.5)


def adam(t: Any) -> Any:
    return t.optim.Adam([{"params": [one(t)], "lr": 0.5}, {"params": [one(t)]}], lr=0.1)


Make = Callable[[Any, Any], Any]  # of the module of schedules and an optimizer
SCHEDULES: dict[str, Make] = {
    "StepLR": lambda s, o: s.StepLR(o, 4, gamma=0.3),
    "StepLR 30": lambda s, o: s.StepLR(o, 30),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9, 40], gamma=0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o),
    "ConstantLR 0.5": lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=20),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.8),
    "LinearLR": lambda s, o: s.LinearLR(o, start_factor=0.25, end_factor=0.75, total_iters=6),
    "LinearLR down": lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=50),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 6, eta_min=0.01),
    "CosineAnnealingLR long": lambda s, o: s.CosineAnnealingLR(o, 59),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 10),
    "CosineAnnealingWarmRestarts 2": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=0.01),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.7, total_steps=EPOCHS),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, [0.7, 0.2], epochs=12, steps_per_epoch=5, anneal_strategy="linear", three_phase=True, pct_start=0.4
    ),
    "OneCycleLR rate": lambda s, o: s.OneCycleLR(o, 0.7, EPOCHS, cycle_momentum=False, div_factor=5.0),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=7),
    "CyclicLR 2": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.3], step_size_up=7, step_size_down=4, mode="triangular2"),
    "CyclicLR exp": lambda s, o: s.CyclicLR(
        o, 0.01, 0.1, step_size_up=5, mode="exp_range", gamma=0.95, base_momentum=[0.1, 0.2], max_momentum=0.7
    ),
    "CyclicLR own": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 5, scale_fn=Decay(0.5), cycle_momentum=False),
    "CyclicLR own step": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 5, scale_fn=Decay(0.9), scale_mode="iterations"),
    "LambdaLR": lambda s, o: s.LambdaLR(o, [lambda n: 0.9**n, lambda n: 1 / (n + 1)]),
    "LambdaLR object": lambda s, o: s.LambdaLR(o, Decay(0.7)),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, [lambda n: 0.95, lambda n: 1 - 1 / (n + 9)]),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=40),
    "PolynomialLR 2": lambda s, o: s.PolynomialLR(o, total_iters=70, power=2.5),
    "SequentialLR": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1), s.LinearLR(o, 0.2, total_iters=9), s.ExponentialLR(o, 0.9)], milestones=[5, 20]
    ),
    "SequentialLR warmup": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, total_iters=10), s.CosineAnnealingLR(o, 50)], milestones=[10]
    ),
    "SequentialLR nested": lambda s, o: s.SequentialLR(
        o,
        [
            s.SequentialLR(o, [s.ConstantLR(o, 0.5, 3), s.ExponentialLR(o, 0.8)], [6]),
            s.CosineAnnealingWarmRestarts(o, 7),
        ],
        milestones=[15],
    ),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 10), s.ExponentialLR(o, 0.95)]),
    "ChainedScheduler 3": lambda s, o: s.ChainedScheduler(
        [s.StepLR(o, 7), s.LinearLR(o, 0.5, total_iters=30), s.CosineAnnealingLR(o, 20, 0.001)], optimizer=o
    ),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(o, patience=2),
    "ReduceLROnPlateau max": lambda s, o: s.ReduceLROnPlateau(
        o, "max", 0.5, 3, threshold=0.05, threshold_mode="abs", cooldown=4, min_lr=[0.2, 0.001], eps=1e-3
    ),
    "ReduceLROnPlateau abs": lambda s, o: s.ReduceLROnPlateau(o, "min", 0.5, 1, 0.3, "abs", min_lr=0.01),
    "ReduceLROnPlateau rel": lambda s, o: s.ReduceLROnPlateau(o, "max", 0.5, 1, 0.3, "rel", cooldown=1),
}  # fmt: skip


def made(t: Any, name: str, optimizer: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested sequences make two steps at once
        return SCHEDULES[name](t.optim.lr_scheduler, optimizer)


def advance(optimizer: Any, schedules: list[Any], step: int) -> None:
    optimizer.step()
    for schedule in schedules:
        if type(schedule).__name__ == "ReduceLROnPlateau":
            schedule.step(1 / (1 + step % 17) + (step // 20) * 0.1)
        else:
            schedule.step()


def rates(optimizer: Any) -> list[float]:
    """Rates, and what cycles with them."""
    return [
        float(value)
        for group in optimizer.param_groups
        for value in (group["lr"], *group.get("betas", ()), group.get("momentum", 0.0))
    ]


def scheduled(t: Any, names: tuple[str, ...], make: Any = sgd, steps: int = EPOCHS) -> list[list[float]]:
    optimizer = make(t)
    schedules = [made(t, n, optimizer) for n in names]
    found = []
    for step in range(steps):
        found.append(rates(optimizer) + [float(x) for s in schedules for x in s.get_last_lr()])
        advance(optimizer, schedules, step)
    return found


@pytest.mark.parametrize("make", [sgd, adam])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(oracle: Any, name: str, make: Any) -> None:
    np.testing.assert_allclose(scheduled(gc, (name,), make), scheduled(oracle, (name,), make), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "names",
    [("LinearLR", "StepLR"), ("CosineAnnealingLR", "ExponentialLR"), ("PolynomialLR", "ReduceLROnPlateau")],
    ids="+".join,
)
def test_schedules_combine(oracle: Any, names: tuple[str, ...]) -> None:
    np.testing.assert_allclose(scheduled(gc, names), scheduled(oracle, names), rtol=1e-12, atol=1e-15)


def test_schedules_by_hand() -> None:
    cosine = [r[2] for r in scheduled(gc, ("CosineAnnealingLR",), steps=7)]
    np.testing.assert_allclose(cosine, [0.01 + 0.09 * (1 + np.cos(np.pi * n / 6)) / 2 for n in range(7)], rtol=1e-12)
    steps = [r[2] for r in scheduled(gc, ("StepLR",), steps=12)]
    np.testing.assert_allclose(steps, [0.1 * 0.3 ** (n // 4) for n in range(12)], rtol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
def test_states_travel_both_ways(oracle: Any, name: str) -> None:
    """Half way through, the state goes to the other library, and both go on alike."""
    for source, target in ((gc, oracle), (oracle, gc), (gc, gc)):
        first = sgd(source)
        schedule = made(source, name, first)
        for step in range(23):
            advance(first, [schedule], step)
        second = sgd(target)
        resumed = made(target, name, second)
        advance(second, [resumed], 0)
        state = schedule.state_dict()
        assert set(state) == set(resumed.state_dict())
        resumed.load_state_dict(state)
        for ours, theirs in zip(second.param_groups, first.param_groups):
            ours.update({k: v for k, v in theirs.items() if k != "params"})
        for step in range(23, 40):
            advance(first, [schedule], step)
            advance(second, [resumed], step)
            np.testing.assert_allclose(rates(second), rates(first), rtol=1e-12)
            assert resumed.get_last_lr() == pytest.approx(schedule.get_last_lr(), rel=1e-12)


def test_functions_that_are_objects_keep_their_attributes() -> None:
    first = lr_scheduler.LambdaLR(SGD([one(gc)]), Decay(0.5))
    state = first.state_dict()
    assert state["lr_lambdas"] == [{"rate": 0.5}]
    other = Decay(0.1)
    lr_scheduler.LambdaLR(SGD([one(gc)]), other).load_state_dict(state)
    assert other.rate == 0.5


@pytest.mark.parametrize("name", [n for n in SCHEDULES if n not in ("ReduceLROnPlateau",)])
def test_a_step_to_an_epoch(oracle: Any, name: str) -> None:
    found = []
    for t in (gc, oracle):
        optimizer = sgd(t)
        schedule = made(t, name, optimizer)
        optimizer.step()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                schedule.step(12) if "Plateau" not in name else schedule.step(1.0, 12)
            except TypeError:
                pass
        found.append([rates(optimizer), [str(w.message) for w in caught]])
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    assert found[0][1] == found[1][1]


def test_a_tensor_stays_the_rate(oracle: Any) -> None:
    found = []
    for t in (gc, oracle):
        rate = t.tensor(0.5, dtype=t.float64)
        optimizer = t.optim.Adam([one(t)], lr=rate)
        schedule = t.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
        optimizer.step()
        schedule.step()
        assert optimizer.param_groups[0]["lr"] is rate
        found.append([rate.item(), *map(float, schedule.get_last_lr())])
    assert found[0] == found[1] == [0.25, 0.25]


# ---------------------------------------------------------------- messages
REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "constant": lambda s, o: s.ConstantLR(o, factor=1.5),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    "restarts 2": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, T_mult=0),
    "restarts 3": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, eta_min="low"),
    "restarts 4": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3).step(-1),
    "cycle": lambda s, o: s.OneCycleLR(o, 0.1),
    "cycle steps": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
    "cycle epochs": lambda s, o: s.OneCycleLR(o, 0.1, epochs=0, steps_per_epoch=1),
    "cycle steps per epoch": lambda s, o: s.OneCycleLR(o, 0.1, epochs=2, steps_per_epoch=1.5),
    "cycle part": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=9, pct_start=2),
    "cycle strategy": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=9, anneal_strategy="sine"),
    "cycle rates": lambda s, o: s.OneCycleLR(o, [0.1], total_steps=9),
    "cycle over": lambda s, o: [s.OneCycleLR(o, 0.1, total_steps=1).step() for _ in range(2)][0],
    "cyclic mode": lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
    "cyclic rates": lambda s, o: s.CyclicLR(o, [0.1], 0.2),
    "cyclic int": lambda s, o: s.CyclicLR(3, 0.1, 0.2),
    "plateau factor": lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda s, o: s.ReduceLROnPlateau(o, mode="least"),
    "plateau threshold": lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="log"),
    "plateau rates": lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
    "plateau int": lambda s, o: s.ReduceLROnPlateau(3),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, 0.5),
    "multiplicative count": lambda s, o: s.MultiplicativeLR(o, [abs]),
    "sequence": lambda s, o: s.SequentialLR(o, [], []),
    "sequence milestones": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
    "sequence int": lambda s, o: s.SequentialLR(o, [3], []),
    "sequence plateau": lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
    "chain": lambda s, o: s.ChainedScheduler([]),
    "chain plateau": lambda s, o: s.ChainedScheduler([s.ReduceLROnPlateau(o)]),
    "swa strategy": lambda s, o: _swa(s).SWALR(o, 0.1, anneal_strategy="sine"),
    "swa epochs": lambda s, o: _swa(s).SWALR(o, 0.1, anneal_epochs=-1),
    "ema": lambda s, o: _swa(s).get_ema_multi_avg_fn(1.5),
}


def _swa(schedules: Any) -> Any:
    return gc.optim.swa_utils if schedules is gc.optim.lr_scheduler else __import__("torch").optim.swa_utils


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_are_pytorchs(oracle: Any, name: str) -> None:
    found = [outcome(lambda t=t: REFUSED[name](t.optim.lr_scheduler, sgd(t))) for t in (gc, oracle)]
    assert repr(found[0]) == repr(found[1])


def test_a_schedule_of_another_optimizer_is_refused() -> None:
    a, b = sgd(gc), sgd(gc)
    for make in (
        lambda: lr_scheduler.SequentialLR(a, [lr_scheduler.StepLR(b, 1)], []),
        lambda: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(a, 1), lr_scheduler.StepLR(b, 1)]),
    ):
        with pytest.raises(ValueError, match="expects all schedulers to belong to the same optimizer"):
            make()


def test_momentum_is_needed_to_cycle_it(oracle: Any) -> None:
    found = []
    for t in (gc, oracle):
        optimizer = t.optim.Adagrad([one(t)], lr=0.1)
        found.append([outcome(SCHEDULES[n], t.optim.lr_scheduler, optimizer) for n in ("CyclicLR", "OneCycleLR")])
    assert repr(found[0]) == repr(found[1])


def test_groups_added_since(oracle: Any) -> None:
    for t in (gc, oracle):
        optimizer = sgd(t)
        schedule = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=0.01)
        optimizer.add_param_group({"params": [one(t)], "lr": 1.0})
        for value in (1.0, 2.0):
            schedule.step(value)
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.05, 0.01, 0.1])
        schedule = t.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0, 0.0, 0.0])
        optimizer.add_param_group({"params": [one(t)], "lr": 1.0})
        schedule.step(1.0)
        with pytest.raises(RuntimeError, match=r"The number of param groups in the `optimizer` \(4\) differs from"):
            schedule.step(2.0)


def messages(t: Any, replaced: bool) -> list[str]:
    optimizer = t.optim.SGD([one(t)], lr=0.1)
    schedule = t.optim.lr_scheduler.StepLR(optimizer, 1)
    if replaced:
        optimizer.step = lambda: None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        schedule.step()
        schedule.get_lr()
    if t is gc:
        assert all(w.filename == __file__ for w in caught)
    return [f"{w.category.__name__}: {w.message}" for w in caught]


@pytest.mark.parametrize("replaced", [False, True])
def test_schedules_warn(oracle: Any, replaced: bool) -> None:
    ours = messages(gc, replaced)
    assert len(ours) == 2
    assert ours == messages(oracle, replaced)


def test_no_warning_in_the_right_order() -> None:
    optimizer = SGD([one(gc)], lr=0.1)
    schedule = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.01])


# ---------------------------------------------------------------- averages of weights
def _averaged(t: Any, options: Callable[[Any], dict[str, Any]], dtype: str) -> list[Any]:
    """The averages after some steps of a model with batch norm."""
    generator = np.random.default_rng(0)
    model = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.BatchNorm1d(4), t.nn.Linear(4, 2)).to(getattr(t, dtype))
    with t.no_grad():
        for p in model.parameters():
            p.copy_(t.tensor(generator.normal(size=tuple(p.shape))))
    average = t.optim.swa_utils.AveragedModel(model, **options(t.optim.swa_utils))
    batches = [t.tensor(generator.normal(size=(6, 3)), dtype=getattr(t, dtype)) for _ in range(5)]
    for batch in batches:
        model(batch)
        with t.no_grad():
            for p in model.parameters():
                p.mul_(0.9).add_(0.1)
        average.update_parameters(model)
    if not options(t.optim.swa_utils).get("use_buffers"):
        t.optim.swa_utils.update_bn([(b, None) for b in batches], average)
    state = {k: v.tolist() for k, v in average.state_dict().items()}
    return [state, average(batches[0]).tolist(), average.training]


OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "swa": lambda s: {},
    "swa fn": lambda s: {"avg_fn": s.get_swa_avg_fn()},
    "swa multi": lambda s: {"multi_avg_fn": s.get_swa_multi_avg_fn()},
    "ema": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.9)},
    "ema fn": lambda s: {"avg_fn": s.get_ema_avg_fn(0.9)},
    "ema buffers": lambda s: {"multi_avg_fn": s.get_ema_multi_avg_fn(0.6), "use_buffers": True},
    "own": lambda s: {"avg_fn": lambda average, current, n: average / 2 + current * n},
}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("name", OPTIONS)
def test_averages_are_pytorchs(oracle: Any, name: str, dtype: str, tolerance: float) -> None:
    if name == "swa multi":
        tolerance = max(tolerance, 1e-6)  # PyTorch has the weight 1 / (n + 1) in float32
    ours, theirs = (_averaged(t, OPTIONS[name], dtype) for t in (gc, oracle))
    assert list(ours[0]) == list(theirs[0]) and ours[2] == theirs[2]
    for key, value in theirs[0].items():
        np.testing.assert_allclose(ours[0][key], value, rtol=tolerance, atol=tolerance, err_msg=key)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=10 * tolerance, atol=10 * tolerance)


def test_averages_on_another_device(device: str) -> None:
    model = gc.nn.Linear(2, 2)
    average = gc.optim.swa_utils.AveragedModel(model, device=device)
    for _ in range(2):
        average.update_parameters(model)
    assert average.module.weight.device.type == device and average.n_averaged.device.type == device
    np.testing.assert_allclose(average.module.weight.tolist(), model.weight.tolist(), rtol=1e-6)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn should be provided"):
        gc.optim.swa_utils.AveragedModel(model, avg_fn=max, multi_avg_fn=max)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options", [{}, {"anneal_epochs": 5, "anneal_strategy": "linear"}, {"anneal_epochs": 0}], ids=str
)
def test_swalr(oracle: Any, options: dict[str, Any]) -> None:
    found = []
    for t in (gc, oracle):
        optimizer = sgd(t)
        schedule = t.optim.swa_utils.SWALR(optimizer, swa_lr=[0.01, 0.2], **options)
        both = [schedule, t.optim.lr_scheduler.ExponentialLR(optimizer, 0.95)]
        seen = []
        for step in range(20):
            seen.append(rates(optimizer))
            advance(optimizer, both, step)
        found.append((seen, schedule.state_dict()))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-12)
    assert set(found[0][1]) == set(found[1][1]) and math.isclose(found[0][1]["_last_lr"][0], found[1][1]["_last_lr"][0])
