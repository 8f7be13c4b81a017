"""`autograd.Function`: what users write, what they get wrong, and second derivatives through it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from behaviour import does, fails, leaf
from conftest import torch

import gradcore as gc
from gradcore.autograd import function as gc_function


def once(m: Any) -> Callable[..., Any]:
    """`once_differentiable` of either library."""
    return m.autograd.function.once_differentiable if m is not gc else gc_function.once_differentiable  # type: ignore[no-any-return]


def make(m: Any, forward: Callable[..., Any], backward: Callable[..., Any], **methods: Any) -> Any:
    """A Function called `F` with the given static methods."""
    given = {"forward": forward, "backward": backward, **methods}
    return type("F", (m.autograd.Function,), {k: staticmethod(v) for k, v in given.items()})


# ---------------------------------------------------------------- PyTorch's example
def legendre(m: Any) -> Any:
    class LegendrePolynomial3(m.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, input: Any) -> Any:
            ctx.save_for_backward(input)
            return 0.5 * (5 * input**3 - 3 * input)

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (input,) = ctx.saved_tensors
            return grad_output * 1.5 * (5 * input**2 - 1)

    return LegendrePolynomial3


def test_legendre_polynomials_fit_the_sine(device: str) -> None:
    points, steps = (200, 500) if device == "cpu" else (20, 5)

    def code(m: Any, d: str) -> Any:
        x = m.linspace(-math.pi, math.pi, points, device=d)
        y = m.sin(x)
        a, b, c, e = (m.full((), v, device=d, requires_grad=True) for v in (0.0, -1.0, 0.0, 0.3))
        p3 = legendre(m).apply
        losses = []
        for _ in range(steps):
            polynomial = p3(c + e * x)
            loss = (a + b * polynomial - y).pow(2).mean()
            losses.append(loss)
            loss.backward()
            with m.no_grad():
                for t in (a, b, c, e):
                    t -= 1e-2 * t.grad
                    t.grad = None
        return repr(polynomial)[-38:], losses[0], losses[-1], [a, b, c, e]

    text, first, last, (a, b, c, e) = does(code, device)
    assert text == "grad_fn=<LegendrePolynomial3Backward>)"[-38:]
    assert last < first
    if device == "cpu":
        assert last < 0.03 and abs(a) < 1e-4 and abs(c) < 1e-4
        assert b == pytest.approx(-2.2, abs=0.5) and e == pytest.approx(0.23, abs=0.05)


def test_legendre_derivatives(device: str) -> None:
    x = gc.tensor([0.3, -1.0, 2.0], dtype=gc.float64, device=device, requires_grad=True)
    p3 = legendre(gc).apply
    assert gc.autograd.gradcheck(p3, x) and gc.autograd.gradgradcheck(p3, x)


# ---------------------------------------------------------------- the context
def test_saved_tensors_and_constants(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []

        def forward(ctx: Any, x: Any, k: float, w: Any, flag: Any) -> Any:
            y = (x * w).exp()
            ctx.save_for_backward(x, None, w, y)
            ctx.k, ctx.flag = k, flag
            seen.append((ctx.needs_input_grad, m.is_grad_enabled(), y.requires_grad))
            return y * k

        def backward(ctx: Any, g: Any) -> Any:
            a, nothing, b, c = ctx.saved_tensors
            seen.append((a is x, nothing, b is w, c.requires_grad, ctx.k, ctx.flag, m.is_grad_enabled(), g))
            return g * c * b * ctx.k, None, g * c * a * ctx.k, None, None, None  # more than there are inputs

        x, w = leaf(m, d, [0.0, 0.0]), leaf(m, d, [2.0, 3.0])
        F = make(m, forward, backward)
        y = F.apply(x, 10.0, w, "text")
        y.sum().backward()
        only_x = F.apply(x, 1, w.detach(), None)
        return y, x.grad, w.grad, seen, only_x.requires_grad, F.apply(x.detach(), 1, w.detach(), None).requires_grad

    y, gx, gw, seen, one, none = does(code, device)
    assert y == [10.0, 10.0] and gx == [20.0, 30.0] and gw == [0.0, 0.0]
    assert seen[0] == [[True, False, True, False], False, False]
    assert seen[1] == [True, None, True, False, 10.0, "text", False, [1.0, 1.0]]
    assert seen[2][0] == [True, False, False, False] and one and not none


def test_setup_context(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            x, ctx.k = inputs
            ctx.save_for_backward(x, output)

        def backward(ctx: Any, g: Any) -> Any:
            x, y = ctx.saved_tensors
            return g * ctx.k * x ** (ctx.k - 1), None

        F = make(m, lambda x, k: x**k, backward, setup_context=setup_context)
        x = leaf(m, d, [2.0, 3.0])
        F.apply(x, 3).sum().backward()
        return x.grad

    assert does(code, device) == [12.0, 27.0]


def test_vjp_is_another_name_for_backward(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        F = type(
            "F",
            (m.autograd.Function,),
            {"forward": staticmethod(lambda ctx, x: x * 2), "vjp": staticmethod(lambda ctx, g: g * 2)},
        )
        return m.autograd.grad(F.apply(leaf(m, d, [1.0])), leaf(m, d, [1.0]), allow_unused=True), m.autograd.grad(
            F.apply(x := leaf(m, d, [1.0])), x
        )

    assert does(code, device) == [[None], [[2.0]]]


def test_arguments_by_keyword(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []

        def forward(ctx: Any, x: Any, k: float = 2.0) -> Any:
            seen.append(ctx.needs_input_grad)
            ctx.k = k
            return x * k

        x = leaf(m, d, [1.0, 2.0])
        F = make(m, forward, lambda ctx, *g: (g[0] * ctx.k, None))
        (g,) = m.autograd.grad(F.apply(k=3.0, x=x).sum(), x)
        G = make(m, forward, lambda ctx, g: g * ctx.k)
        return g, m.autograd.grad(G.apply(x).sum(), x), seen

    assert does(code, device) == [[3.0, 3.0], [[2.0, 2.0]], [[True, False], [True]]]


def test_setup_context_is_given_the_defaults(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []

        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            seen.append((inputs, output))

        F = make(m, lambda x, k=2.0: x * k, lambda ctx, g: (g, None), setup_context=setup_context)
        x = leaf(m, d, [1.0, 2.0])
        F.apply(x), F.apply(k=4.0, x=x), F.apply(x, k=5.0)
        return seen

    assert [k for (_, k), _ in does(code, device)] == [2.0, 4.0, 5.0]


def test_saved_for_forward(device: str) -> None:
    """Until `apply` is done they are what `saved_tensors` gives: `jvp` asks there."""

    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []

        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_forward(x, None)
            ctx.save_for_backward(x * 2)
            seen.append((ctx.saved_for_forward, ctx.saved_tensors))
            return x * 2

        def backward(ctx: Any, g: Any) -> Any:
            seen.append((ctx.saved_for_forward, ctx.saved_tensors))
            return g

        x = leaf(m, d, [1.0])
        make(m, forward, backward).apply(x).backward()
        return seen

    assert does(code, device) == [[[[1.0], None], [[1.0], None]], [None, [[2.0]]]]


def test_several_results(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []

        def forward(ctx: Any, x: Any) -> Any:
            a, b, c = x * 2, x * 3, (x * 10).long()
            ctx.mark_non_differentiable(c)
            return a, b, "text", c

        def backward(ctx: Any, ga: Any, gb: Any, text: Any, gc_: Any) -> Any:
            seen.append((ga, gb, text, gc_))
            return ga * 2 + gb * 3

        x = leaf(m, d, [1.0, 2.0])
        a, b, text, c = make(m, forward, backward).apply(x)
        ga = m.autograd.grad(a.sum(), x, retain_graph=True)
        gb = m.autograd.grad((a * b).sum(), x)
        return ga, gb, seen, text, c.requires_grad, [a.output_nr, b.output_nr]

    ga, gb, seen, *rest = does(code, device)
    assert ga == [[2.0, 2.0]] and gb == [[12.0, 24.0]]
    assert seen[0] == [[1.0, 1.0], [0.0, 0.0], None, [0, 0]] and rest == ["text", False, [0, 1]]


def test_gradients_need_not_be_filled_in(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        seen: list[Any] = []

        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        def backward(ctx: Any, a: Any, b: Any) -> Any:
            seen.append((a, b))
            return None if b is None else b * 3

        x = leaf(m, d, [1.0])
        a, b = make(m, forward, backward).apply(x)
        first = m.autograd.grad(a, x, retain_graph=True, allow_unused=True)
        return first, m.autograd.grad(b, x), seen

    assert does(code, device) == [[None], [[3.0]], [[[1.0], None], [None, [1.0]]]]


def test_results_come_in_a_plain_tuple() -> None:
    class Pair(NamedTuple):
        a: Any
        b: Any

    def code(m: Any, d: str) -> Any:
        F = make(m, lambda ctx, x: Pair(x * 2, x * 3), lambda ctx, a, b: a + b)
        return type(F.apply(leaf(m, d, [1.0]))).__name__

    assert does(code) == "tuple"


def test_marked_dirty(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.mark_dirty(x)
            return x.mul_(2)

        F = make(m, forward, lambda ctx, g: g * 2)
        x = leaf(m, d, [1.0, 2.0, 3.0])
        y = x * 1
        z = F.apply(y)
        base = x * 1
        F.apply(base[:2])
        versions = (y._version, base._version)
        return z is y, y, y.grad_fn.name(), m.autograd.grad(y.sum(), x), base, m.autograd.grad(base.sum(), x), versions

    assert does(code, device) == [
        True, [2.0, 4.0, 6.0], "FBackward", [[2.0, 2.0, 2.0]], [2.0, 4.0, 3.0], [[2.0, 2.0, 1.0]], [2, 2],
    ]  # fmt: skip


def test_the_second_result_is_changed_in_place(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0])
        _, b = make(m, lambda ctx, x: (x * 2, x * 3), lambda ctx, ga, gb: ga * 2 + gb * 3).apply(x)
        b[0].mul_(5)
        return b, m.autograd.grad(b.sum(), x)

    assert does(code, device) == [[15.0, 6.0], [[15.0, 3.0]]]


def test_a_view_marked_dirty_may_be_one_result_of_several(device: str) -> None:
    """PyTorch refuses this one."""

    def forward(ctx: Any, x: Any, y: Any) -> Any:
        ctx.mark_dirty(y)
        return x * 1, y.mul_(2)

    x = gc.tensor([1.0, 2.0], device=device, requires_grad=True)
    base = x * 1
    make(gc, forward, lambda ctx, ga, gb: (ga, gb * 2)).apply(x, base[:1])
    assert base.tolist() == [2.0, 2.0] and gc.autograd.grad(base.sum(), x)[0].tolist() == [2.0, 1.0]


def test_an_input_returned_as_it_is(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        F = make(m, lambda ctx, x: x, lambda ctx, g: g * 5)
        G = make(m, lambda ctx, x: x[:1], lambda ctx, g: m.ones(2, device=d) * g)
        x = leaf(m, d, [1.0, 2.0])
        y = x * 1
        a, b = F.apply(y), G.apply(y)
        errors = []
        for t in (a, b):
            try:
                t.mul_(2)
            except RuntimeError as error:
                errors.append(str(error))
        return a is y, a._is_view(), m.autograd.grad([a.sum(), 2 * b.sum()], x), errors, y

    *rest, errors, y = does(code, device)
    assert rest == [False, True, [[7.0, 7.0]]] and y == [1.0, 2.0]
    assert len(errors) == 2 and all("This view was created inside a custom Function" in e for e in errors)


def test_dirty_is_for_inputs(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        def forward(ctx: Any, x: Any) -> Any:
            y = x * 2
            ctx.mark_dirty(y)
            return y

        with pytest.warns(UserWarning, match=r"ctx.mark_dirty\(\) received a tensor that was not an input"):
            return make(m, forward, lambda ctx, g: g).apply(leaf(m, d, [1.0])).requires_grad

    assert does(code, device) is True


def test_instances_are_of_no_use() -> None:
    for m in [gc] if torch is None else [gc, torch]:
        with pytest.warns(
            DeprecationWarning, match="should not be instantiated. Methods on autograd functions are all"
        ):
            make(m, lambda ctx, x: x, lambda ctx, g: g)()


def test_gradients_that_others_hold_are_not_handed_over(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        constant = m.ones(2, device=d)
        kept: list[Any] = []

        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            kept.append(g)
            return constant, x, g

        def forward(ctx: Any, x: Any, y: Any, z: Any) -> Any:
            ctx.save_for_backward(x)
            return x + y + z

        leaves = [leaf(m, d, [3.0, 4.0]) for _ in range(3)]
        out = make(m, forward, backward).apply(*leaves)
        for _ in range(2):
            out.backward(m.ones(2, device=d), retain_graph=True)
        return constant, leaves[0], kept, [t.grad for t in leaves]

    assert does(code, device) == [
        [1.0, 1.0], [3.0, 4.0], [[1.0, 1.0]] * 2, [[2.0, 2.0], [6.0, 8.0], [2.0, 2.0]],
    ]  # fmt: skip


# ---------------------------------------------------------------- mistakes
def _backward_of(backward: Callable[..., Any]) -> Callable[[Any, str], Any]:
    def code(m: Any, d: str) -> Any:
        x = leaf(m, d, [1.0, 2.0, 3.0])
        F = make(m, lambda ctx, x: x * 2, backward)
        return m.autograd.grad(F.apply(x).sum(), x, allow_unused=True)

    return code


def _save(value: Any) -> Callable[[Any, str], Any]:
    def code(m: Any, d: str) -> None:
        make(m, lambda ctx, x: ctx.save_for_backward(value), lambda ctx, g: g).apply(leaf(m, d, [1.0]))

    return code


def _in_forward(action: Callable[[Any, Any], None]) -> Callable[[Any, str], Any]:
    def code(m: Any, d: str) -> None:
        def forward(ctx: Any, x: Any) -> Any:
            action(ctx, x)
            return x * 2

        make(m, forward, lambda ctx, g: g).apply(leaf(m, d, [1.0]))

    return code


def _dirty(forward: Callable[..., Any], make_input: Callable[[Any], Any]) -> Callable[[Any, str], Any]:
    def code(m: Any, d: str) -> None:
        make(m, forward, lambda ctx, g: g).apply(make_input(leaf(m, d, [1.0])))

    return code


def _mark_and_return(ctx: Any, x: Any) -> Any:
    ctx.mark_dirty(x)
    return x.mul_(2)


def _mark_and_forget(ctx: Any, x: Any) -> Any:
    ctx.mark_dirty(x)
    return x.mul_(2) * 1


def _saved_twice(m: Any, d: str) -> None:
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * 2

    y = make(m, forward, lambda ctx, g: (ctx.saved_tensors, g)[1]).apply(leaf(m, d, [1.0]))
    y.backward()
    y.backward()


MISTAKES: dict[str, tuple[Callable[[Any, str], Any], str]] = {
    "too many": (
        _backward_of(lambda ctx, g: (g, g)),
        "RuntimeError: function FBackward returned an incorrect number of gradients (expected 1, got 2)",
    ),
    "too few": (
        _backward_of(lambda ctx, g: ()),
        "RuntimeError: function FBackward returned an incorrect number of gradients (expected 1, got 0)",
    ),
    "shape": (
        _backward_of(lambda ctx, g: g[:2]),
        "RuntimeError: Function FBackward returned an invalid gradient at index 0 - got [2] but expected shape "
        "compatible with [3]",
    ),
    "int": (_backward_of(lambda ctx, g: 3), "RuntimeError: expected Variable or None (got int)"),
    "saving an int": (
        _save(3),
        "TypeError: save_for_backward can only save variables, but argument 0 is of type int",
    ),
    "no forward": (
        lambda m, d: type("F", (m.autograd.Function,), {}).apply(leaf(m, d, [1.0])),  # type: ignore[attr-defined]
        "NotImplementedError: You must implement the forward function for custom autograd.Function.",
    ),
    "no backward": (
        lambda m, d: (
            type("F", (m.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x * 2)})  # type: ignore[attr-defined]
            .apply(leaf(m, d, [1.0]))
            .backward()
        ),
        "NotImplementedError: You must implement either the backward or vjp method for your custom autograd.Function "
        "to use it with backward mode AD.",
    ),
    "dirty leaf": (
        _dirty(_mark_and_return, lambda x: x),
        "RuntimeError: a leaf Variable that requires grad has been used in an in-place operation.",
    ),
    "dirty, not returned": (
        _dirty(_mark_and_forget, lambda x: x * 1),
        "RuntimeError: Some elements marked as dirty during the forward method were not returned as output. The inputs "
        "that are modified inplace must all be outputs of the Function.",
    ),
    "saving an int for jvp": (
        _in_forward(lambda ctx, x: ctx.save_for_forward(3)),
        "AssertionError: save_for_forward expects all arguments to be tensors; you should save non-tensors as "
        "attributes on ctx.",
    ),
    "dirty int": (
        _in_forward(lambda ctx, x: ctx.mark_dirty(3)),
        "RuntimeError: mark_dirty can only accept variables, but argument 0 is of type int",
    ),
    "non-differentiable int": (
        _in_forward(lambda ctx, x: ctx.mark_non_differentiable(3)),
        "RuntimeError: mark_non_differentiable only accepts variable arguments, but got int",
    ),
    "materialize int": (
        _in_forward(lambda ctx, x: ctx.set_materialize_grads(3)),
        "TypeError: set_materialize_grads received an invalid combination of arguments - got (int), but expected "
        "(bool)",
    ),
    "gradient of a number": (
        lambda m, d: make(m, lambda ctx, x, k: x * k, lambda ctx, g: (g, g)).apply(leaf(m, d, [1.0]), 3).backward(),
        "RuntimeError: function FBackward returned a gradient different than None at position 2, but the corresponding "
        "forward input was not a Variable",
    ),
    "backward and vjp": (
        lambda m, d: (
            make(m, lambda ctx, x: x * 2, lambda ctx, g: g, vjp=lambda ctx, g: g).apply(leaf(m, d, [1.0])).backward()
        ),
        "RuntimeError: Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You should only "
        "implement one of them.",
    ),
    "no jvp": (
        lambda m, d: m.autograd.Function.jvp(None, leaf(m, d, [1.0])),
        "NotImplementedError: You must implement the jvp function for custom autograd.Function to use it with forward "
        "mode AD.",
    ),
    "unknown keyword": (
        lambda m, d: make(m, lambda ctx, x, *, k=1: x, lambda ctx, g: g).apply(leaf(m, d, [1.0]), k=3),
        "TypeError: forward() got an unexpected keyword argument 'k'",
    ),
    "missing argument": (
        lambda m, d: make(m, lambda x, k: x, lambda ctx, g: g, setup_context=lambda *a: None).apply(leaf(m, d, [1.0])),
        "TypeError: missing a required argument: 'k'",
    ),
    "called": (
        lambda m, d: make(m, lambda ctx, x: x, lambda ctx, g: g)()(leaf(m, d, [1.0])),
        "RuntimeError: Legacy autograd function with non-static forward method is deprecated. Please use new-style "
        "autograd function with static forward method",
    ),
    "saved tensors are gone": (_saved_twice, "RuntimeError: Trying to backward through the graph a second time (or"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake(case: str, device: str) -> None:
    code, expected = MISTAKES[case]
    # Where PyTorch's own text is cut short, ours goes on.
    found = fails(code, device, wording=case not in ("int", "called") and not case.endswith(" int"))
    assert found.startswith(expected)


def test_a_gradient_that_broadcasting_stretched_is_summed(device: str) -> None:
    assert does(_backward_of(lambda ctx, g: g.expand(2, 3)), device) == [[2.0, 2.0, 2.0]]


def test_saved_tensors_must_not_change(device: str) -> None:
    def code(m: Any, d: str) -> None:
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        def backward(ctx: Any, g: Any) -> Any:
            return 2 * g * ctx.saved_tensors[0]

        y = leaf(m, d, [1.0, 2.0]) * 1
        z = make(m, forward, backward).apply(y)
        y.add_(1)
        z.sum().backward()

    found = fails(code, device, wording=False)
    assert "has been modified by an inplace operation" in found and "is at version 1; expected version 0" in found
    assert "saved by FBackward" in found


# ---------------------------------------------------------------- second derivatives
def test_second_derivative_of_a_function(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        def forward(ctx: Any, x: Any, w: Any) -> Any:
            y = (x * w).exp()
            ctx.save_for_backward(x, w, y)
            return y, x * x

        def backward(ctx: Any, gy: Any, gz: Any) -> Any:
            x, w, y = ctx.saved_tensors
            return gy * w * y + gz * 2 * x, gy * x * y

        x, w = leaf(m, d, [0.5, 1.0], dtype=m.float64), leaf(m, d, [1.0, -0.5], dtype=m.float64)
        F = make(m, forward, backward)
        y, z = F.apply(x * 1, w)
        gx, gw = m.autograd.grad((y * z).sum(), [x, w], create_graph=True)
        return gx, gw, m.autograd.grad((gx * gw).sum(), [x, w]), m.autograd.gradgradcheck(F.apply, (x, w))

    assert does(code, device)[-1] is True


def test_once_differentiable(device: str) -> None:
    def code(m: Any, d: str) -> Any:
        @once(m)
        def backward(ctx: Any, g: Any) -> Any:
            return g * 2 * ctx.saved_tensors[0]

        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        x = leaf(m, d, [3.0])
        F = make(m, forward, backward)
        (g,) = m.autograd.grad(F.apply(x), x)
        y = F.apply(x) * x
        (h,) = m.autograd.grad(y, x, create_graph=True)
        try:
            h.backward()
        except RuntimeError as error:
            return g, h, h.requires_grad, str(error)

    text = "trying to differentiate twice a function that was marked with @once_differentiable"
    assert does(code, device) == [[6.0], [27.0], True, text]


def test_once_differentiable_is_not_passed_over_in_silence() -> None:
    """Where only other paths of the gradient lead to the input, PyTorch leaves this one out."""

    @gc_function.once_differentiable
    def backward(ctx: Any, g: Any) -> Any:
        return g * 2 * ctx.saved_tensors[0]

    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x * x

    x = gc.ones(1, requires_grad=True)
    (g,) = gc.autograd.grad(make(gc, forward, backward).apply(x) + x**3, x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gc.autograd.grad(g, x)
