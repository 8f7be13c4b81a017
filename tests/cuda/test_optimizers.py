"""Optimizer steps in one launch against the CPU's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from updates import OPTIMIZERS, run, update_of

import gradcore as gc
from gradcore.backends.cuda import multi_tensor

SHAPES = [(3,), (9000,), (5, 7), (0,), (), (64, 64)]


@pytest.fixture
def tensors(random_array):
    return lambda dtype: [random_array(s, dtype) for s in SHAPES]


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps(cuda, cpu, same, dtype, name, tensors):
    columns = [tensors(dtype), tensors(dtype), *([np.asarray(abs(a)) for a in tensors(dtype)] for _ in range(3))]
    columns[4] = [
        np.asarray(a * a / 2) for a in columns[2]
    ]  # the mean of squares is no less than the square of the mean
    there = [[cuda.from_host(a) for a in column] for column in columns]
    for step in range(1, 4):
        columns[1] = tensors(dtype)
        there[1] = [cuda.from_host(g) for g in columns[1]]
        run(cpu, name, columns, step)
        run(cuda, name, there, step)
    for found, expected in zip(sum(there, []), sum(columns, [])):
        same(found, expected, 40)


def test_numbers_on_the_device(cuda, same, tensors):
    """As with `capturable`: what is computed there is not asked for."""
    columns = [[cuda.from_host(np.asarray(abs(a))) for a in tensors("float32")] for _ in range(4)]
    others = [[cuda.copy(a) for a in column] for column in columns]
    update, state, settings = update_of("adamw")
    update(cuda, [*columns, None], **settings)
    there = {n: cuda.from_host(np.float64(v).reshape(())) if isinstance(v, float) else v for n, v in settings.items()}
    update(cuda, [*others, None], **there)
    for a, b in zip(sum(columns, []), sum(others, [])):
        same(a, cuda.to_host(b))


@pytest.mark.parametrize("name", ["adam", "adamw amsgrad", "nadam", "radam", "adamax"])
def test_capturable(cuda, name):
    """The count of steps stays on the device."""
    results = []
    for capturable in (False, True):
        kind, options = OPTIMIZERS[name]
        params = [gc.ones(3, device="cuda"), gc.ones(2, 2, device="cuda")]
        optimizer = getattr(gc.optim, kind)(params, **options, capturable=capturable)
        for step in range(7):
            for p in params:
                p.grad = (p * (step + 1)).cos()
            optimizer.step()
        state = optimizer.state[params[0]]
        assert state["step"].device.type == ("cuda" if capturable else "cpu") and state["step"].item() == 7
        results.append([p.tolist() for p in params])
        saved = optimizer.state_dict()
        optimizer.load_state_dict(saved)
        for p in params:
            p.grad = p.cos()
        optimizer.step()
        assert optimizer.state[params[0]]["step"].item() == 8
    for a, b in zip(*results):
        np.testing.assert_allclose(a, b, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(cuda, same, dtype, tensors):
    params, grads = tensors(dtype), tensors(dtype)
    there = [cuda.from_host(p) for p in params]
    run(cuda, "sgd decay", [there, [cuda.from_host(g) for g in grads]])
    for found, p, g in zip(there, params, grads):
        wide = p.astype(np.float32)
        exact = wide - np.float32(0.1) * (g.astype(np.float32) + np.float32(0.2) * wide)
        same(found, exact.astype(p.dtype))


def test_mixed_dtypes_and_views(cuda, same, random_array):
    a, b = random_array((20, 6)), random_array((33,), "float64")
    whole = cuda.from_host(a)
    there = [whole[:, 1::2], cuda.from_host(b)[1:]]
    grads = [cuda.from_host(a.T.copy()).T[:, 1::2], cuda.from_host(b)[1:]]
    run(cuda, "sgd", [there, grads])
    expected = a.copy()
    expected[:, 1::2] *= np.float32(0.9)
    same(whole, expected)
    same(there[1], b[1:] * 0.9)


def test_one_launch_and_no_new_table(cuda, tensors, monkeypatch):
    there, grads = [[cuda.from_host(p) for p in tensors("float32")] for _ in range(2)]
    monkeypatch.setattr(cuda._multi_tensor, "_kernels", {})  # without those that other tests made
    run(cuda, "sgd", [there, grads])
    uploads = []
    # A second table could not be made.
    monkeypatch.setattr(cuda._multi_tensor, "_xp", SimpleNamespace(cuda=cuda.xp.cuda))
    ((kernel, (function, ctype)),) = cuda._multi_tensor._kernels.items()
    monkeypatch.setitem(cuda._multi_tensor._kernels, kernel, (lambda *a: (uploads.append(a[0]), function(*a)), ctype))
    run(cuda, "sgd", [there, grads])
    chunks = sum(-(-int(np.prod(s)) // multi_tensor.CHUNK) for s in SHAPES)
    assert uploads == [(chunks,)]


def test_every_access_is_in_bounds(cuda, checked, tensors):
    there = [[cuda.from_host(p) for p in tensors("float32")] for _ in range(2)]
    for name in OPTIMIZERS:
        state = [[cuda.full(a.shape, value, a.dtype) for a in there[0]] for value in (9, 9, 1)]
        run(cuda, name, [*there[:2], *state])
    assert all(np.isfinite(cuda.to_host(p)[..., None]).any() or p.size == 0 for p in there[0])
