"""Hooks of optimizers, groups that come later, and the arguments that choose implementations, beside PyTorch's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest

import gradcore as gc


def one(t: Any, value: float = 1.0) -> Any:
    return t.tensor([value, 2.0], dtype=t.float64, requires_grad=True)


def test_hooks_are_called_as_pytorchs(oracle: Any) -> None:
    logs = []
    for t in (gc, oracle):
        log: list[Any] = []
        p = one(t)
        optimizer = t.optim.SGD([p], lr=0.5)
        module = import_module(f"{t.__name__}.optim.optimizer")
        handles = [
            optimizer.register_step_pre_hook(lambda o, args, kwargs, log=log: log.append(("pre", len(args), kwargs))),
            optimizer.register_step_post_hook(lambda o, args, kwargs, log=log: log.append(("post", len(args), kwargs))),
            module.register_optimizer_step_pre_hook(lambda o, a, k, log=log: log.append("all pre")),
            module.register_optimizer_step_post_hook(lambda o, a, k, log=log: log.append("all post")),
        ]
        p.grad = t.ones(2, dtype=t.float64)
        optimizer.step(closure=lambda: 3)
        for handle in handles:
            handle.remove()
        optimizer.step()
        logs.append([*[(x[0], x[1], list(x[2])) if isinstance(x, tuple) else x for x in log], p.tolist()])
    assert logs[0] == logs[1]
    assert logs[0][:-1] == ["all pre", ("pre", 1, ["closure"]), ("post", 1, ["closure"]), "all post"]


def test_a_hook_changes_arguments_and_a_closure_runs_once(oracle: Any) -> None:
    for t in (gc, oracle):
        optimizer = t.optim.SGD([one(t)], lr=0.5)
        calls: list[int] = []
        handle = optimizer.register_step_pre_hook(
            lambda o, args, kwargs, calls=calls: ((*args, lambda: calls.append(1) or 7), kwargs)
        )
        assert optimizer.step() == 7 and calls == [1]
        handle.remove()
        optimizer.register_step_pre_hook(lambda o, args, kwargs: 3)
        with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\), but got 3"):
            optimizer.step()


def test_a_step_that_calls_its_base_is_one_step() -> None:
    class Twice(gc.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            super().step()
            return super().step(closure)

    calls = []
    p = one(gc)
    optimizer = Twice([p], lr=0.5)
    optimizer.register_step_post_hook(lambda *args: calls.append(1))
    p.grad = gc.ones(2, dtype=gc.float64)
    optimizer.step()
    assert calls == [1] and p.tolist() == [0.0, 1.0]


def test_hooks_of_state(oracle: Any) -> None:
    found = []
    for t in (gc, oracle):
        log: list[str] = []
        optimizer = t.optim.SGD([one(t)], lr=0.5, momentum=0.1)

        def marked(o: Any, state: Any) -> Any:
            return {**state, "mark": 1}

        def unmarked(o: Any, state: Any) -> Any:
            state["param_groups"][0]["lr"] = 0.25
            return {k: v for k, v in state.items() if k != "mark"}

        optimizer.register_state_dict_pre_hook(lambda o, log=log: log.append("second"))
        optimizer.register_state_dict_pre_hook(lambda o, log=log: log.append("first"), prepend=True)
        optimizer.register_state_dict_post_hook(marked)
        optimizer.register_load_state_dict_pre_hook(unmarked)
        optimizer.register_load_state_dict_post_hook(lambda o, log=log: log.append("loaded"))
        state = optimizer.state_dict()
        optimizer.load_state_dict(state)
        found.append((log, sorted(state), optimizer.param_groups[0]["lr"]))
    assert found[0] == found[1] == (["first", "second", "loaded"], ["mark", "param_groups", "state"], 0.25)


OPTIMIZERS = {
    "SGD": {"momentum": 0.9},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "NAdam": {},
    "RAdam": {},
    "Adamax": {},
    "RMSprop": {"centered": True, "momentum": 0.5},
    "Adagrad": {},
    "Adadelta": {},
    "Rprop": {},
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {"capturable": False}], ids=str)
def test_groups_that_come_later(oracle: Any, name: str, options: dict[str, Any]) -> None:
    """50 steps, in which a group with options of its own is added, and gradients are zeroed or dropped."""
    if "capturable" in options and name in ("SGD", "Adagrad"):
        options = {}
    results = []
    for t in (gc, oracle):
        first, later = one(t), one(t, -3.0)
        optimizer = getattr(t.optim, name)([first], lr=0.01, **OPTIMIZERS[name], **options)
        for step in range(50):
            if step == 20:
                optimizer.add_param_group({"params": [later], "lr": 0.1, "maximize": True})
            optimizer.zero_grad(set_to_none=step % 7 < 4)
            (first * later.cos()).sum().backward()
            optimizer.step()
        results.append([first.tolist(), later.tolist()])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-11)
