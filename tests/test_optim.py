"""Optimizers and schedules: the numbers, states and messages are PyTorch's; the definitions hold."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from updates import OPTIMIZERS

import gradcore as gc
from gradcore import nn
from gradcore.optim import SGD, Adam, AdamW, Optimizer, lr_scheduler

SHAPES: tuple[tuple[int, ...], ...] = ((3, 4), (5,), (), (2, 0))


def renamed(text: str) -> str:
    """Text of PyTorch as it reads here."""
    return text.replace("torch.", "gradcore.")


def outcome(program: Callable[[Any], Any], library: Any) -> str:
    """What a program returns, or the error it raises, as text."""
    try:
        return repr(program(library))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def parameters(t: Any, dtype: str = "float64", device: str = "cpu") -> list[Any]:
    values = np.random.default_rng(0)
    made = [t.tensor(np.asarray(values.standard_normal(s)), device=device).to(getattr(t, dtype)) for s in SHAPES]
    return [t.nn.Parameter(p) for p in made]


def gradients(t: Any, params: list[Any], step: int, skip: bool = False) -> None:
    """Gradients that depend on the parameters; some parameters have none in some steps."""
    values = np.random.default_rng(step)
    for i, p in enumerate(params):
        noise = t.tensor(np.asarray(values.standard_normal(tuple(p.shape)))).to(p.device, p.dtype)
        absent = skip and (i + step) % 3 == 0
        p.grad = None if absent else (p * 0.3 + noise).detach()


def trained(t: Any, make: Callable[[Any, list[Any]], Any], steps: int = 50, dtype: str = "float64", skip: bool = False,
            device: str = "cpu") -> tuple[list[Any], Any]:  # fmt: skip
    params = parameters(t, dtype, device)
    optimizer = make(t.optim, params)
    for step in range(steps):
        gradients(t, params, step, skip)
        optimizer.step()
    return params, optimizer


def numbers(tensors: Any) -> list[np.ndarray]:
    return [x.detach().cpu().double().numpy() for x in tensors]


def close(ours: Any, theirs: Any, rtol: float = 1e-12, atol: float = 1e-14) -> None:
    for a, b in zip(numbers(ours), numbers(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


every = pytest.mark.parametrize("name", OPTIMIZERS)


def maker(name: str) -> Callable[[Any, list[Any]], Any]:
    kind, options = OPTIMIZERS[name]
    return lambda optim, params: getattr(optim, kind)(params, **options)


# ---------------------------------------------------------------- steps
@every
@pytest.mark.parametrize("skip", [False, True])
def test_same_parameters_as_pytorch(oracle: Any, name: str, skip: bool) -> None:
    ours, _ = trained(gc, maker(name), skip=skip)
    theirs, _ = trained(oracle, maker(name), skip=skip)
    close(ours, theirs)


@every
@pytest.mark.parametrize(("dtype", "error"), [("float16", 2e-3), ("bfloat16", 2e-2), ("float32", 1e-5)])
def test_lower_precision_follows_double(name: str, dtype: str, error: float) -> None:
    steps = 5
    ours, _ = trained(gc, maker(name), steps, dtype)
    assert all(p.dtype is getattr(gc, dtype) for p in ours)
    exact, _ = trained(gc, maker(name), steps)
    # A rounding a step, of numbers of order one; of the moments too.
    close(ours, exact, rtol=0, atol=4 * steps * error)


@every
def test_same_on_every_device(name: str, device: str) -> None:
    there, _ = trained(gc, maker(name), 6, "float32", skip=True, device=device)
    assert all(p.device.type == device for p in there)
    here, _ = trained(gc, maker(name), 6, "float32", skip=True)
    close(there, here, rtol=2e-5, atol=2e-6)


@every
def test_large_and_strided_parameters(name: str, device: str) -> None:
    """Parameters longer than what is updated at a time, and transposed ones, as their parts one by one."""
    values = np.random.default_rng(0).standard_normal((2, 70_000 if device == "cpu" else 700))
    whole, turned = gc.tensor(values, device=device), gc.tensor(values, device=device).t()
    parts = [gc.tensor(row, device=device) for row in values]
    optimizer = maker(name)(gc.optim, [whole, turned, *parts])
    for _ in range(3):
        for p in (whole, turned, *parts):
            p.grad = (p * 0.5).sin()
        turned.grad = turned.grad.t().clone().t()
        optimizer.step()
    expected = np.stack([p.cpu().numpy() for p in parts])
    assert not np.allclose(expected, values)
    np.testing.assert_allclose(whole.cpu().numpy(), expected, rtol=1e-14)
    np.testing.assert_allclose(turned.t().cpu().numpy(), expected, rtol=1e-14)


def test_sgd_by_hand() -> None:
    p = gc.tensor([1.0, -2.0], dtype=gc.float64)
    optimizer = SGD([p], lr=0.1, momentum=0.5, weight_decay=0.01)
    p.grad = gc.tensor([0.5, 0.5], dtype=gc.float64)
    optimizer.step()
    b = np.array([0.5 + 0.01, 0.5 - 0.02])
    q = np.array([1.0, -2.0]) - 0.1 * b
    np.testing.assert_allclose(p.numpy(), q, rtol=1e-15)
    optimizer.step()
    b = 0.5 * b + 0.5 + 0.01 * q
    np.testing.assert_allclose(p.numpy(), q - 0.1 * b, rtol=1e-15)


def test_adam_by_hand() -> None:
    p, g = gc.tensor([1.0, -2.0], dtype=gc.float64), np.array([0.5, -3.0])
    optimizer = AdamW([p], lr=0.1, weight_decay=0.2, betas=(0.5, 0.75), eps=0.1)
    p.grad = gc.tensor(g)
    q, m, v = p.numpy().copy(), np.zeros(2), np.zeros(2)
    for t in (1, 2, 3):
        optimizer.step()
        q *= 1 - 0.1 * 0.2
        m, v = 0.5 * m + 0.5 * g, 0.75 * v + 0.25 * g * g
        q -= 0.1 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.75**t)) + 0.1)
        np.testing.assert_allclose(p.numpy(), q, rtol=1e-14)
    assert optimizer.state[p]["step"].item() == 3


def test_groups_have_their_own_options(oracle: Any) -> None:
    def make(optim: Any, params: list[Any]) -> Any:
        groups = [{"params": params[:1], "lr": 0.5}, {"params": params[1:], "momentum": 0.0}]
        return optim.SGD(groups, lr=0.01, momentum=0.9)

    close(trained(gc, make)[0], trained(oracle, make)[0])


def test_options_may_change_between_steps(oracle: Any) -> None:
    results = []
    for t in (gc, oracle):
        params = parameters(t)
        optimizer = t.optim.SGD(params, lr=0.1)
        for step in range(9):
            optimizer.param_groups[0].update(lr=0.1 / (step + 1), momentum=0.9 if step > 2 else 0)
            gradients(t, params, step)
            optimizer.step()
        results.append(params)
    close(*results)


def test_learning_rate_may_be_a_tensor(oracle: Any) -> None:
    for kind in ("SGD", "Adam"):
        made = [trained(t, lambda o, p, t=t: getattr(o, kind)(p, lr=t.tensor(0.1)))[0] for t in (gc, oracle)]  # noqa: B023
        # PyTorch's scalar tensor is float32.
        close(*made, rtol=1e-6)


def test_mixed_dtypes_and_devices(device: str) -> None:
    a = gc.ones(3, requires_grad=True)
    b = gc.ones(3, dtype=gc.float64, device=device, requires_grad=True)
    for optimizer in (SGD([a, b], lr=0.5, momentum=0.9), Adam([a, b])):
        a.grad, b.grad = gc.ones_like(a), gc.ones_like(b)
        optimizer.step()
        assert a.tolist() == pytest.approx(b.tolist(), rel=1e-6)


def test_training_reaches_the_minimum() -> None:
    gc.manual_seed(1)
    x = gc.randn(64, 3)
    target = x @ gc.tensor([[1.0], [-2.0], [0.5]]) + 3
    for kind, lr in ((SGD, 0.3), (Adam, 0.1), (AdamW, 0.1)):
        model = nn.Linear(3, 1)
        optimizer = kind(model.parameters(), lr=lr, weight_decay=0)  # type: ignore[call-arg]
        for _ in range(300):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), target)
            loss.backward()
            optimizer.step()
        assert loss.item() < 1e-5
        np.testing.assert_allclose(model.weight.detach().numpy(), [[1, -2, 0.5]], atol=1e-2)


# ---------------------------------------------------------------- what a step does besides
def test_parameters_without_gradient_stay() -> None:
    a, b = gc.ones(2, requires_grad=True), gc.ones(2, requires_grad=True)
    for optimizer in (SGD([a, b], lr=0.1, momentum=0.9, weight_decay=1), AdamW([a, b])):
        a.grad = gc.ones(2)
        optimizer.step()
        assert b.tolist() == [1, 1] and b not in optimizer.state


def test_closure_runs_with_gradients() -> None:
    p = gc.ones(2, requires_grad=True)
    optimizer = SGD([p], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with gc.no_grad():
        assert optimizer.step(closure).item() == 2
    assert p.tolist() == [0.5, 0.5]


def test_a_step_is_a_change_in_place() -> None:
    for kind in (SGD, Adam):
        p = gc.ones(2, requires_grad=True)
        memory = p.data_ptr()
        optimizer = kind([p], lr=0.1)  # type: ignore[call-arg]
        loss = (p * p).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        assert p.data_ptr() == memory and p._version == 1 and p.is_leaf
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_parameters_may_move_and_change_dtype(device: str) -> None:
    model = nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=0.1)
    model.to(device, gc.float64)
    before = model.bias.item()
    model(gc.ones(1, 2, dtype=gc.float64, device=device)).sum().backward()
    optimizer.step()
    assert model.bias.item() == pytest.approx(before - 0.1, rel=1e-12)


def test_zero_grad() -> None:
    p = gc.ones(2, requires_grad=True)
    optimizer = SGD([p])
    p.sum().backward()
    gradient = p.grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is gradient and p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


def test_memory_of_moments_is_not_shared() -> None:
    p = gc.ones(2, requires_grad=True)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    p.grad = gc.ones(2)
    optimizer.step()
    p.grad.zero_()
    assert optimizer.state[p]["momentum_buffer"].tolist() == [1, 1]


# ---------------------------------------------------------------- state
@every
def test_state_dict_travels_both_ways(oracle: Any, name: str) -> None:
    def moved(state: Any, make: Callable[[Any], Any]) -> Any:
        values = {n: {k: make(v) for k, v in s.items()} for n, s in state["state"].items()}
        return {"state": values, "param_groups": state["param_groups"]}

    ours, optimizer = trained(gc, maker(name), 7, skip=True)
    theirs, peer = trained(oracle, maker(name), 7, skip=True)
    state, expected = optimizer.state_dict(), peer.state_dict()
    assert state["param_groups"] == expected["param_groups"]
    assert {n: set(s) for n, s in state["state"].items()} == {n: set(s) for n, s in expected["state"].items()}
    for n, values in state["state"].items():
        close(values.values(), [expected["state"][n][k] for k in values])
        assert [v.dtype.is_floating_point for v in values.values()] == [True] * len(values)
    # Each goes on from the other's state as it would from its own.
    optimizer.load_state_dict(moved(expected, lambda v: gc.tensor(v.numpy())))
    peer.load_state_dict(moved(state, lambda v: oracle.tensor(v.numpy())))
    for step in range(7, 15):
        for t, params, o in ((gc, ours, optimizer), (oracle, theirs, peer)):
            gradients(t, params, step, skip=True)
            o.step()
    # (NAdam's product of weights, kept in float32, goes on in float64 in PyTorch once it was loaded.)
    close(ours, theirs, rtol=1e-8 if "nadam" in name else 1e-12)


@every
def test_resuming_gives_the_same_numbers(name: str) -> None:
    straight, _ = trained(gc, maker(name), 10)
    params, optimizer = trained(gc, maker(name), 5)
    saved = copy.deepcopy(optimizer.state_dict())
    resumed = [nn.Parameter(p.detach().clone()) for p in params]
    fresh = maker(name)(gc.optim, resumed)
    fresh.load_state_dict(saved)
    for step in range(5, 10):
        gradients(gc, resumed, step)
        fresh.step()
    for a, b in zip(straight, resumed, strict=True):
        assert gc.equal(a, b)
    # Training on leaves the loaded dictionary alone.
    for n, values in saved["state"].items():
        assert all(gc.equal(v, optimizer.state_dict()["state"][n][k]) for k, v in values.items())


def test_loaded_state_takes_dtype_and_device_of_the_parameters(device: str) -> None:
    p = gc.ones(2, requires_grad=True)
    p.grad = gc.ones(2)
    optimizer = Adam([p])
    optimizer.step()
    q = gc.ones(2, dtype=gc.float64, device=device, requires_grad=True)
    other = Adam([q])
    other.load_state_dict(optimizer.state_dict())
    state = other.state[q]
    assert state["exp_avg"].dtype is gc.float64 and state["exp_avg"].device.type == device
    assert state["step"].dtype is gc.float32 and state["step"].device.type == "cpu"


def test_loading_errors_change_nothing() -> None:
    params = parameters(gc)
    optimizer = SGD(params, lr=0.1, momentum=0.9)
    state = optimizer.state_dict()
    for bad, text in (
        ({**state, "param_groups": []}, "different number of parameter groups"),
        ({**state, "param_groups": [{**state["param_groups"][0], "params": [0]}]}, "doesn't match the size"),
    ):
        with pytest.raises(ValueError, match=text):
            optimizer.load_state_dict(bad)
        assert optimizer.param_groups[0]["params"] == params and optimizer.param_groups[0]["lr"] == 0.1


def test_adamw_stays_decoupled() -> None:
    p = gc.ones(2, requires_grad=True)
    optimizer = AdamW([p])
    optimizer.load_state_dict(Adam([p]).state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


def test_optimizers_copy_and_pickle() -> None:
    params, optimizer = trained(gc, maker("adam"), 3)
    for other in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        copies = other.param_groups[0]["params"]
        assert all(a is not b and gc.equal(a, b) for a, b in zip(copies, params, strict=True))
        gradients(gc, copies, 3)
        other.step()
        assert other.state[copies[0]]["step"].item() == 4 and optimizer.state[params[0]]["step"].item() == 3


# ---------------------------------------------------------------- messages
def one(t: Any) -> Any:
    return t.nn.Parameter(t.ones(2))


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "repr": lambda t: t.optim.SGD([one(t)], lr=0.1, momentum=0.9),
    "repr of groups": lambda t: t.optim.AdamW([{"params": [one(t)], "lr": 1}, {"params": one(t)}], lr=0.1),
    "defaults": lambda t: [getattr(t.optim, n)([one(t)]).defaults for n in ("SGD", "Adam", "AdamW")],
    "state": lambda t: t.optim.Adam([one(t), one(t)]).state_dict(),
    "names": lambda t: t.optim.SGD(t.nn.Linear(1, 1).named_parameters()).state_dict(),
    "some names": lambda t: t.optim.SGD([("a", one(t)), one(t)]),
    "names in one group": lambda t: t.optim.SGD([("a", one(t))]).add_param_group({"params": [one(t)]}),
    "tensor": lambda t: t.optim.SGD(t.ones(1)),
    "nothing": lambda t: t.optim.SGD([]),
    "ints": lambda t: t.optim.SGD([1, 2]),
    "set": lambda t: t.optim.SGD([{"params": {one(t)}}]),
    "non-leaf": lambda t: t.optim.SGD([one(t) * 2]),
    "retained": lambda t: retained(t),
    "group of list": lambda t: t.optim.SGD([one(t)]).add_param_group([one(t)]),
    "two groups": lambda t: shared(t),
    "lr": lambda t: t.optim.SGD([one(t)], lr=-1),
    "momentum": lambda t: t.optim.SGD([one(t)], momentum=-1),
    "decay": lambda t: t.optim.SGD([one(t)], weight_decay=-1),
    "nesterov": lambda t: t.optim.SGD([one(t)], nesterov=True),
    "fused and foreach": lambda t: t.optim.SGD([one(t)], fused=True, foreach=True),
    "adam fused and foreach": lambda t: t.optim.Adam([one(t)], fused=True, foreach=True),
    "adam lr": lambda t: t.optim.Adam([one(t)], lr=-1),
    "adam eps": lambda t: t.optim.Adam([one(t)], eps=-1),
    "adam beta 0": lambda t: t.optim.Adam([one(t)], betas=(1.0, 0.9)),
    "adam beta 1": lambda t: t.optim.AdamW([one(t)], betas=(0.9, -0.1)),
    "adam decay": lambda t: t.optim.Adam([one(t)], weight_decay=-1),
    "schedule of int": lambda t: t.optim.lr_scheduler.StepLR(3, 1),
    "schedule resumed": lambda t: t.optim.lr_scheduler.StepLR(t.optim.SGD([one(t)]), 1, last_epoch=3),
    "linear start": lambda t: t.optim.lr_scheduler.LinearLR(t.optim.SGD([one(t)]), start_factor=0),
    "linear end": lambda t: t.optim.lr_scheduler.LinearLR(t.optim.SGD([one(t)]), end_factor=2),
    "lambdas": lambda t: t.optim.lr_scheduler.LambdaLR(t.optim.SGD([one(t)]), [abs, abs]),
}


def retained(t: Any) -> Any:
    p = one(t) * 2
    p.retain_grad()
    return len(t.optim.SGD([p]).param_groups)


def shared(t: Any) -> Any:
    p = one(t)
    return t.optim.SGD([{"params": [p]}, {"params": [p]}])


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_outcome_as_pytorch(oracle: Any, name: str) -> None:
    assert outcome(PROGRAMS[name], gc) == renamed(outcome(PROGRAMS[name], oracle))


def test_duplicates_warn() -> None:
    p = one(gc)
    with pytest.warns(UserWarning, match="duplicate parameters"):
        SGD([p, p])


def test_differentiable_is_refused() -> None:
    for kind in (SGD, Adam, AdamW):
        with pytest.raises(NotImplementedError, match=f"{kind.__name__}.differentiable=True"):
            kind([one(gc)], differentiable=True)  # type: ignore[call-arg]


def test_a_refused_group_is_not_added() -> None:
    optimizer = SGD([one(gc)])
    group = {"params": [one(gc), 3]}
    with pytest.raises(TypeError, match="one of the params is int"):
        optimizer.add_param_group(group)
    assert len(optimizer.param_groups) == 1 and list(group) == ["params"]


def test_own_optimizers() -> None:
    class Sign(Optimizer):
        def __init__(self, params: Any, lr: float):
            super().__init__(params, {"lr": lr})

        @gc.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.sub_(group["lr"] * p.grad / p.grad.abs())

    p = gc.tensor([1.0, -1.0], requires_grad=True)
    optimizer = Sign([p], lr=0.5)
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5)
    (p * p).sum().backward()
    optimizer.step()
    schedule.step()
    assert p.tolist() == [0.5, -0.5] and optimizer.param_groups[0]["lr"] == 0.25


# ---------------------------------------------------------------- L-BFGS
def fitted(t: Any, steps: int, optimizer: Any = None, **options: Any) -> tuple[list[float], list[Any], Any]:
    """The losses, parameters and optimizer of a small problem that is not convex."""
    values = np.random.default_rng(0)
    matrix, goal = t.tensor(values.standard_normal((6, 6))), t.tensor(values.standard_normal(6))
    w, v = (t.nn.Parameter(t.tensor(values.standard_normal(s))) for s in ((2, 3), (6,)))
    unused = t.nn.Parameter(t.zeros(2, dtype=t.float64))
    made = t.optim.LBFGS([w, v, unused], **options)

    def closure() -> Any:
        made.zero_grad()
        loss = ((matrix @ v - goal) ** 2).sum() + ((w.reshape(6) * v) ** 2).sum() + (w**4).sum() + w.cos().sum()
        loss.backward()
        return loss

    return [made.step(closure).item() for _ in range(steps)], [w, v], made


LBFGS_OPTIONS: list[dict[str, Any]] = [
    {},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7},
    {"line_search_fn": "strong_wolfe", "max_iter": 4, "max_eval": 5},
    {"lr": 0.1, "max_iter": 5, "history_size": 2},
]


@pytest.mark.parametrize("options", LBFGS_OPTIONS, ids=str)
def test_lbfgs_as_pytorch(oracle: Any, options: dict[str, Any]) -> None:
    ours, params, optimizer = fitted(gc, 6, **options)
    theirs, expected, peer = fitted(oracle, 6, **options)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)
    close(params, expected, rtol=1e-9, atol=1e-10)
    state, other = optimizer.state[params[0]], peer.state[expected[0]]
    assert set(state) == set(other) - {"al"}
    assert (state["func_evals"], state["n_iter"]) == (other["func_evals"], other["n_iter"])
    assert len(state["old_dirs"]) == len(other["old_dirs"])


def test_lbfgs_resumes() -> None:
    """A copy of the optimizer's state, in another optimizer, goes on with the same numbers."""
    found = []
    for resumed in (False, True):
        p = nn.Parameter(gc.tensor([-1.0, 2.0], dtype=gc.float64))
        optimizer = gc.optim.LBFGS([p], lr=0.1, max_iter=3, history_size=2)

        def closure() -> Any:
            p.grad = None  # noqa: B023
            loss = ((1 - p) ** 2).sum() + (p[1] - p[0] ** 2) ** 2  # noqa: B023
            loss.backward()
            return loss

        for step in range(4):
            optimizer.step(closure)
            if resumed and step == 1:
                saved = copy.deepcopy(optimizer.state_dict())
                optimizer = gc.optim.LBFGS([p], lr=0.1, max_iter=3, history_size=2)
                optimizer.load_state_dict(saved)
        assert optimizer.state[p]["n_iter"] == 8 and len(optimizer.state[p]["old_dirs"]) == 2
        found.append(p.tolist())
    assert found[0] == found[1]


def test_lbfgs_messages(oracle: Any) -> None:
    for program in (
        lambda t: t.optim.LBFGS([t.ones(1)], lr=-1),
        lambda t: t.optim.LBFGS([{"params": [t.ones(1)]}, {"params": [t.ones(1)]}]),
        lambda t: fitted(t, 1, line_search_fn="golden"),
    ):
        assert outcome(program, gc) == renamed(outcome(program, oracle))


# ---------------------------------------------------------------- Muon
@pytest.mark.parametrize("shape", [(6, 4), (3, 8), (5, 5)], ids=str)
@pytest.mark.parametrize("options", [{}, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.5}])
def test_muon_as_pytorch(oracle: Any, shape: tuple[int, int], options: dict[str, Any]) -> None:
    """One step: the iteration is in bfloat16, and multiplies differences of rounding by 3.4 each time."""
    found = []
    for t in (gc, oracle):
        values = np.random.default_rng(0)
        p = t.nn.Parameter(t.tensor(values.standard_normal(shape)))
        p.grad = t.tensor(values.standard_normal(shape))
        t.optim.Muon([p], lr=1.0, **options).step()
        found.append(p.detach().numpy())
    scale = 0.2 * np.sqrt(max(shape)) if options else np.sqrt(max(1, shape[0] / shape[1]))
    np.testing.assert_allclose(*found, atol=0.1 * scale)


def test_muon_makes_steps_orthogonal(device: str) -> None:
    p = nn.Parameter(gc.zeros(6, 4, device=device))
    p.grad = gc.randn(6, 4, device=device)
    optimizer = gc.optim.Muon([p], lr=1.0)
    optimizer.step()
    lengths = np.linalg.svd(p.detach().cpu().numpy(), compute_uv=False)
    assert (abs(lengths / np.sqrt(6 / 4) - 1) < 0.45).all()
    assert set(optimizer.state[p]) == {"momentum_buffer"}


def test_muon_messages(oracle: Any) -> None:
    for program in (
        lambda t: t.optim.Muon([t.ones(3)]),
        lambda t: t.optim.Muon([t.ones(3, 3)], lr=-1),
        lambda t: t.optim.Muon([t.ones(3, 3)], adjust_lr_fn="other"),
    ):
        assert outcome(program, gc) == renamed(outcome(program, oracle))
