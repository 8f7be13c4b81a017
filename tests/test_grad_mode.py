"""`no_grad`, `enable_grad`, `set_grad_enabled`: as blocks, calls and decorators, for each thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

from behaviour import does, leaf

import gradcore as gc


def test_blocks(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0])
        seen = []
        with m.no_grad():
            seen.append((x * 2).requires_grad)
            with m.enable_grad():
                seen.append((x * 2).requires_grad)
                with m.set_grad_enabled(False):
                    seen.append((x * 2).requires_grad)
                seen.append((x * 2).requires_grad)
            seen.append((x * 2).requires_grad)
            seen.append(m.ones(1, requires_grad=True, device=d).requires_grad)
        seen.append((x * 2).requires_grad)
        return seen

    assert does(code, device) == [False, True, False, True, False, True, True]


def test_the_mode_comes_back_after_an_error() -> None:
    def code(m: Any, d: str) -> Any:
        seen = []
        for block in (m.no_grad, lambda: m.set_grad_enabled(False)):
            try:
                with block():
                    raise KeyError
            except KeyError:
                seen.append(m.is_grad_enabled())
        return seen

    assert does(code) == [True, True]


def test_set_grad_enabled_as_a_call() -> None:
    def code(m: Any, d: str) -> Any:
        seen = []
        m.set_grad_enabled(False)
        try:
            seen.append(m.is_grad_enabled())
            with m.set_grad_enabled(True):
                seen.append(m.is_grad_enabled())
            seen.append(m.is_grad_enabled())
        finally:
            m.set_grad_enabled(True)
        seen.append(m.is_grad_enabled())
        return seen

    assert does(code) == [False, True, False, True]


def test_decorators() -> None:
    def code(m: Any, d: str) -> Any:
        @m.no_grad()
        def with_call(a: int, b: int = 2) -> Any:
            """Documented."""
            return a, b, m.is_grad_enabled()

        @m.no_grad
        def bare() -> Any:
            return m.is_grad_enabled()

        @m.set_grad_enabled(False)
        def setting() -> Any:
            return m.is_grad_enabled()

        @m.no_grad()
        def recursive(n: int) -> Any:
            return [m.is_grad_enabled(), *(recursive(n - 1) if n else [])]

        class Model:
            @m.no_grad()
            def method(self) -> Any:
                with m.enable_grad():
                    return m.is_grad_enabled()

        seen = [with_call(1, b=3), bare(), setting(), recursive(2), Model().method(), m.is_grad_enabled()]
        return seen, with_call.__name__, with_call.__doc__

    assert does(code) == [
        [[1, 3, False], False, False, [False, False, False], True, True],
        "with_call",
        "Documented.",
    ]


def test_decorated_generators() -> None:
    """The mode holds in the generator's code alone; values, errors and the result pass through."""

    def code(m: Any, d: str) -> Any:
        inside: list[Any] = []

        @m.no_grad()
        def numbers(n: int) -> Iterator[Any]:
            try:
                for i in range(n):
                    inside.append(m.is_grad_enabled())
                    try:
                        inside.append((yield i))
                    except KeyError as error:
                        inside.append((repr(error), m.is_grad_enabled()))
                        yield "caught"
            finally:
                inside.append(("closed", m.is_grad_enabled()))
            return "result"

        g = numbers(3)
        outside = [next(g), m.is_grad_enabled(), g.send("sent"), g.throw(KeyError("thrown")), next(g)]
        outside.append(m.is_grad_enabled())
        try:
            next(g)
        except StopIteration as stop:
            outside.append(stop.value)
        other = numbers(5)
        next(other)
        other.close()
        with m.no_grad():
            outside.append(list(m.enable_grad()(lambda: (yield m.is_grad_enabled()))()))
        return outside, inside, m.is_grad_enabled()

    outside, inside, after = does(code)
    assert outside == [0, True, 1, "caught", 2, True, "result", [True]]
    assert inside == [
        False, "sent", False, ["KeyError('thrown')", False], False, None, ["closed", False],
        False, ["closed", False],
    ]  # fmt: skip
    assert after


def test_decorated_coroutines_keep_the_mode_to_themselves() -> None:
    """PyTorch's decorator has no effect inside a coroutine; here it holds there, and in no other task."""
    inside: list[bool] = []
    beside: list[bool] = []

    @gc.no_grad()
    async def work() -> str:
        for _ in range(3):
            inside.append(gc.is_grad_enabled())
            await asyncio.sleep(0)
        inside.append(gc.is_grad_enabled())
        return "done"

    async def other() -> None:
        for _ in range(3):
            beside.append(gc.is_grad_enabled())
            await asyncio.sleep(0)

    async def main() -> list[Any]:
        return await asyncio.gather(work(), other())

    assert asyncio.run(main())[0] == "done"
    assert inside == [False] * 4 and beside == [True] * 3 and gc.is_grad_enabled()


def test_the_mode_is_of_the_thread() -> None:
    def code(m: Any, d: str) -> Any:
        seen = []

        def look() -> None:
            seen.append(m.is_grad_enabled())
            m.set_grad_enabled(True)

        with m.no_grad():
            t = threading.Thread(target=look)
            t.start()
            t.join()
            seen.append(m.is_grad_enabled())
        return seen

    assert does(code) == [True, False]


def test_backward_runs_without_recording_whatever_the_mode(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [2.0])
        seen = []
        y = x * x
        y.register_hook(lambda g: seen.append((m.is_grad_enabled(), g.requires_grad)))
        m.autograd.grad(y, x, retain_graph=True)
        with m.no_grad():
            (g,) = m.autograd.grad(y, x, create_graph=True)
        return seen, g.requires_grad, m.is_grad_enabled()

    assert does(code, device) == [[[False, False], [True, False]], True, True]


def test_backward_within_backward(device: str) -> None:
    """A hook may run a pass of its own, which accumulates too."""

    def code(m: Any, d: str) -> Any:
        x, z = leaf(m, d, 2.0), leaf(m, d, 3.0)

        def again(_: Any) -> None:
            with m.enable_grad():
                (z * z * z).backward()

        x.register_post_accumulate_grad_hook(again)
        y = x * x
        y.register_hook(again)
        y.backward()
        return x.grad, z.grad

    assert does(code, device) == [4.0, 54.0]
