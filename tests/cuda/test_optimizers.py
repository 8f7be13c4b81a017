"""Optimizer steps in one launch against the CPU's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcore.backends.cuda import optimizers

SHAPES = [(3,), (9000,), (5, 7), (0,), (), (64, 64)]
SGD: dict[str, dict[str, Any]] = {
    "plain": {},
    "weight decay, maximize": {"weight_decay": 0.1, "maximize": True},
    "momentum": {"momentum": 0.9, "weight_decay": 0.1},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "dampening": {"momentum": 0.9, "dampening": 0.3},
}
ADAM: dict[str, dict[str, Any]] = {
    "adam": {},
    "weight decay": {"weight_decay": 0.1},
    "adamw": {"weight_decay": 0.1, "decoupled": True, "maximize": True},
    "amsgrad": {"amsgrad": True},
}


def sgd_settings(chosen: dict[str, Any], first: bool) -> dict[str, Any]:
    plain = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False, "maximize": False}
    return {"lr": 0.1, **plain, **chosen, "first": first}


def adam_settings(chosen: dict[str, Any], step: int) -> dict[str, Any]:
    plain = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False}
    return {**plain, "maximize": False, **{k: v for k, v in chosen.items() if k != "amsgrad"}, "step": step}


@pytest.fixture
def tensors(random_array):
    return lambda dtype: [random_array(s, dtype) for s in SHAPES]


@pytest.mark.parametrize("chosen", SGD)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sgd(cuda, cpu, same, dtype, chosen, tensors):
    momentum = "momentum" in SGD[chosen]
    params = tensors(dtype)
    buffers = [np.zeros_like(p) for p in params]
    there, buffers_there = [cuda.from_host(p) for p in params], [cuda.from_host(b) for b in buffers]
    for step in range(3):
        grads = tensors(dtype)
        settings = sgd_settings(SGD[chosen], step == 0)
        cpu.sgd_step(params, grads, buffers if momentum else None, **settings)
        cuda.sgd_step(there, [cuda.from_host(g) for g in grads], buffers_there if momentum else None, **settings)
    for found, expected in zip(there + buffers_there, params + buffers):
        same(found, expected, 10)


@pytest.mark.parametrize("chosen", ADAM)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam(cuda, cpu, same, dtype, chosen, tensors):
    amsgrad = "amsgrad" in ADAM[chosen]
    params = tensors(dtype)
    states = [[np.zeros_like(p) for p in params] for _ in range(3)]
    there = [cuda.from_host(p) for p in params]
    states_there = [[cuda.from_host(a) for a in s] for s in states]
    for step in range(1, 4):
        grads = tensors(dtype)
        settings = adam_settings(ADAM[chosen], step)
        cpu.adam_step(params, grads, *states[:2], states[2] if amsgrad else None, **settings)
        grads_there = [cuda.from_host(g) for g in grads]
        cuda.adam_step(there, grads_there, *states_there[:2], states_there[2] if amsgrad else None, **settings)
    for found, expected in zip(there + sum(states_there, []), params + sum(states, [])):
        same(found, expected, 10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(cuda, same, dtype, tensors):
    params, grads = tensors(dtype), tensors(dtype)
    there = [cuda.from_host(p) for p in params]
    cuda.sgd_step(there, [cuda.from_host(g) for g in grads], None, **sgd_settings({"weight_decay": 0.01}, True))
    for found, p, g in zip(there, params, grads):
        wide = p.astype(np.float32)
        exact = wide - np.float32(0.1) * (g.astype(np.float32) + np.float32(0.01) * wide)
        same(found, exact.astype(p.dtype))


def test_mixed_dtypes_and_views(cuda, same, random_array):
    a, b = random_array((20, 6)), random_array((33,), "float64")
    whole = cuda.from_host(a)
    there = [whole[:, 1::2], cuda.from_host(b)[1:]]
    grads = [cuda.from_host(a.T.copy()).T[:, 1::2], cuda.from_host(b)[1:]]
    cuda.sgd_step(there, grads, None, **sgd_settings({}, True))
    expected = a.copy()
    expected[:, 1::2] *= np.float32(0.9)
    same(whole, expected)
    same(there[1], b[1:] * 0.9)


def test_one_launch_and_no_new_table(cuda, tensors, monkeypatch):
    there, grads = [[cuda.from_host(p) for p in tensors("float32")] for _ in range(2)]
    monkeypatch.setattr(cuda._optimizers, "_kernels", {})  # without those that other tests made
    cuda.sgd_step(there, grads, None, **sgd_settings({}, True))
    uploads = []
    monkeypatch.setattr(cuda._optimizers, "_xp", None)  # a second table could not be made
    ((kernel, (function, ctype)),) = cuda._optimizers._kernels.items()
    monkeypatch.setitem(cuda._optimizers._kernels, kernel, (lambda *a: (uploads.append(a[0]), function(*a)), ctype))
    cuda.sgd_step(there, grads, None, **sgd_settings({}, True))
    chunks = sum(-(-int(np.prod(s)) // optimizers.CHUNK) for s in SHAPES)
    assert uploads == [(chunks,)]


def test_every_access_is_in_bounds(cuda, checked, tensors):
    there = [[cuda.from_host(p) for p in tensors("float32")] for _ in range(5)]
    cuda.adam_step(*there, **adam_settings({}, 1))
    cuda.sgd_step(*there[:3], **sgd_settings(SGD["momentum"], False))
    assert all(np.isfinite(cuda.to_host(p)[..., None]).any() or p.size == 0 for p in there[0])
