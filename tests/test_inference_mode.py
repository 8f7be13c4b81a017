"""`inference_mode`: what is made there, and what may not be done with it elsewhere; compared with PyTorch."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from behaviour import does, fails, leaf
from test_function import make

import gradcore as gc
from gradcore.autograd import tape
from gradcore.autograd.grad_mode import mode


def inference(m: Any, d: str, n: int = 3) -> Any:
    with m.inference_mode():
        return m.ones(n, device=d)


def test_what_is_made_inside(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0, 3.0])
        with m.inference_mode():
            r = m.ones(2, requires_grad=True, device=d)
            made = {
                "zeros": m.zeros(3, device=d),
                "tensor": m.tensor([1.0], device=d),
                "arange": m.arange(3, device=d),
                "rand": m.rand(2, device=d),
                "like": m.zeros_like(x),
                "from_numpy": m.from_numpy(np.ones(3)),
                "result": x * 2,
                "several": x.max(dim=0)[1],
                "copy": x.expand(2, 3).reshape(6),
                "clone": x.clone(),
                "requires grad": r,
                "of that": r * 2,
                "view": x.view(3),
                "item": x[0],
                "split": x.split(1)[0],
                "detach": x.detach(),
                "data": x.data,
                "itself": x.contiguous(),
                "parameter": m.nn.Parameter(m.ones(2)),
            }
            told = [m.is_grad_enabled(), m.is_inference_mode_enabled()]
        grads = [made[k].requires_grad for k in ("result", "requires grad", "of that", "parameter")]
        return {k: t.is_inference() for k, t in made.items()}, told, grads, m.is_inference_mode_enabled()

    made, told, grads, after = does(code, device)
    normal = {k for k, is_inference in made.items() if not is_inference}
    assert normal == {"view", "item", "split", "detach", "data", "itself"}
    assert told == [False, True] and grads == [False, True, False, True] and after is False


def test_outside_it_may_be_used_where_nothing_is_saved(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        i = inference(m, d)
        x = leaf(m, d, [1.0, 2.0, 3.0])
        y = x * 1
        y.add_(i)
        out = m.ones(3, device=d).add_(i), i * 2, i + x, i.clone(), i.exp()
        views = i.view(3), i[0], i.detach(), i.data
        i.requires_grad_(False)
        with m.inference_mode():
            i.add_(1)
            r = m.ones(2, device=d, requires_grad=True)
        (r * 2).sum().backward()
        (g,) = m.autograd.grad(y, x, i)
        copies = copy.deepcopy(i), pickle.loads(pickle.dumps(i)), i.clone().requires_grad_()
        return out, [t.is_inference() for t in (*out, *views, *copies, g)], r.grad, g, (i + x).requires_grad

    _, flags, *rest = does(code, device)
    assert flags == [False] * 5 + [True] * 4 + [False] * 4 and rest == [[2.0, 2.0], [2.0, 2.0, 2.0], True]


def test_normal_tensors_may_be_changed_inside(device: str) -> None:
    """Leaves too, as under `no_grad`; the version counts."""

    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        plain = m.ones(2, device=d)
        with m.inference_mode():
            x.add_(1)
            plain += 1
            plain.copy_(m.zeros(2, device=d))
            view = plain[0]
        return x, x._version, plain, plain._version, plain.is_inference(), x.requires_grad, view.add_(1)

    does(code, device)


def _saved_in(use: Callable[[Any, Any, Any], Any]) -> Callable[[Any, str], Any]:
    return lambda m, d: use(m, leaf(m, d, [1.0, 2.0, 3.0]), inference(m, d))


def _in_function(m: Any, x: Any, i: Any) -> Any:
    def forward(ctx: Any, x: Any, i: Any) -> Any:
        ctx.save_for_backward(i)
        return x * 1

    return make(m, forward, lambda ctx, g: (g, None)).apply(x, i)


def _set_requires_grad(m: Any, x: Any, i: Any) -> None:
    i.requires_grad = True


def _set_item(m: Any, x: Any, i: Any) -> None:
    i[0] = 3


def _of_a_view(m: Any, x: Any, i: Any) -> None:
    y = x * 1
    with m.inference_mode():
        v = y[:2]
    v.add_(1)


SAVED = "RuntimeError: Inference tensors cannot be saved for backward. Please do not use Tensors created in inference"
CHANGED = "RuntimeError: Inplace update to inference tensor outside InferenceMode is not allowed."
REQUIRED = "RuntimeError: Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."

MISTAKES: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "x * i": (lambda m, x, i: x * i, SAVED),
    "i * x": (lambda m, x, i: i * x, SAVED),
    "(x * 2) * i": (lambda m, x, i: (x * 2) * i, SAVED),
    "x / i": (lambda m, x, i: x / i, SAVED),
    "x.mul_": (lambda m, x, i: (x * 1).mul_(i), SAVED),
    "of a view": (lambda m, x, i: x * i.view(3), SAVED),
    "detached": (lambda m, x, i: x * i.detach(), SAVED),
    "matmul": (lambda m, x, i: x @ i, SAVED),
    "linear": (lambda m, x, i: m.nn.functional.linear(x[None], i[None]), SAVED),
    "where": (lambda m, x, i: m.where(m.inference_mode()(lambda: i > 0)(), x, x), SAVED),
    "create_graph": (lambda m, x, i: m.autograd.grad(x * x, x, i, create_graph=True), SAVED),
    "save_for_backward": (_in_function, SAVED),
    "in a mode of its own": (lambda m, x, i: m.inference_mode()(m.inference_mode(False)(lambda: x * i))(), SAVED),
    "add_": (lambda m, x, i: i.add_(1), CHANGED),
    "add_ x": (lambda m, x, i: i.mul_(x), CHANGED),
    "add_ of a view": (lambda m, x, i: i[0].add_(1), CHANGED),
    "setitem": (_set_item, CHANGED),
    "no_grad": (lambda m, x, i: m.no_grad()(lambda: i.add_(1))(), CHANGED),
    "requires_grad_": (lambda m, x, i: i.requires_grad_(), REQUIRED),
    "requires_grad": (_set_requires_grad, REQUIRED),
    "parameter": (lambda m, x, i: m.nn.Parameter(i), REQUIRED),
    "version": (lambda m, x, i: i._version, "RuntimeError: Inference tensors do not track version counter."),
    "version of a view": (lambda m, x, i: i[0]._version, "RuntimeError: Inference tensors do not track version"),
    "a view made inside": (_of_a_view, "RuntimeError: A view was created in inference mode and is being modified inp"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake(case: str, device: str) -> None:
    use, expected = MISTAKES[case]
    assert fails(_saved_in(use), device).startswith(expected)


def test_gradients_that_are_inference_tensors_are_not_changed(device: str) -> None:
    """They are replaced by the sum. PyTorch refuses."""
    i = inference(gc, device)
    x = gc.ones(3, device=device, requires_grad=True)
    x.grad = i
    (x * 2).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0, 3.0] and i.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(RuntimeError, match="Inplace update"):
        i.add_(1)
    assert i.tolist() == [1.0, 1.0, 1.0]


def test_a_view_of_a_changed_base_keeps_its_history(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        base = m.zeros(2, device=d)
        view = base.view(2)
        base.copy_(x * 2)
        with m.inference_mode():
            inside = (view * 3).requires_grad
        return inside, view.requires_grad, m.autograd.grad(view.sum(), x)

    assert does(code, device) == [False, True, [[2.0, 2.0]]]


# ---------------------------------------------------------------- the mode
def test_nested() -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0])
        seen = []

        def look() -> None:
            y = x * 2
            seen.append((m.is_inference_mode_enabled(), y.requires_grad, y.is_inference()))

        with m.inference_mode():
            look()
            with m.inference_mode(False):
                look()
                with m.inference_mode():
                    look()
            look()
            with m.enable_grad():
                look()
            with m.no_grad(), m.set_grad_enabled(True):
                look()
        look()
        with m.no_grad(), m.inference_mode(mode=False):
            look()
        try:
            with m.inference_mode():
                raise KeyError
        except KeyError:
            look()
        return seen

    inside, normal = [True, False, True], [False, True, False]
    assert does(code) == [inside, normal, inside, inside, inside, inside, normal, normal, normal]


def test_decorators() -> None:
    def code(m: Any, d: str) -> Any:
        def look() -> Any:
            """Documented."""
            return m.is_inference_mode_enabled(), m.ones(1).is_inference()

        decorated = m.inference_mode()(look)
        seen = [
            decorated(),
            m.inference_mode(look)(),
            m.inference_mode(False)(look)(),
            m.inference_mode(mode=True)(look)(),
        ]

        @m.inference_mode()
        def numbers() -> Iterator[Any]:
            yield look()
            yield look()

        for inside in numbers():
            seen += [inside, look()]
        return seen, decorated.__doc__

    yes, no = [True, True], [False, False]
    assert does(code) == [[yes, yes, no, yes, yes, no, yes, no], "Documented."]


def test_async_functions() -> None:
    """The mode holds in the function's own code alone. (PyTorch decorates what the call returns.)"""

    @gc.inference_mode()
    async def inside() -> list[bool]:
        found = [gc.is_inference_mode_enabled()]
        await asyncio.sleep(0)
        return [*found, gc.is_inference_mode_enabled()]

    async def beside() -> list[bool]:
        found = [gc.is_inference_mode_enabled()]
        await asyncio.sleep(0)
        return [*found, gc.is_inference_mode_enabled()]

    async def main() -> Any:
        return await asyncio.gather(inside(), beside())

    assert asyncio.run(main()) == [[True, True], [False, False]]


def test_the_mode_is_of_the_thread() -> None:
    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []
        x = leaf(m, d, [1.0])

        def look() -> None:
            y = x * 2
            seen.append((m.is_inference_mode_enabled(), y.is_inference(), y.requires_grad))

        with m.inference_mode():
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            look()
        return seen

    assert does(code) == [[False, False, True], [True, True, False]]


def test_nothing_is_left_behind() -> None:
    before = tape._watchers
    with gc.inference_mode():
        assert tape._watchers == before + 1
    assert tape._watchers == before and mode.observers == ()
