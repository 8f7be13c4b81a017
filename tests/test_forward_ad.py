"""Forward mode: tangents of every op, of views and changes in place, of Functions; with and of backward passes."""

from __future__ import annotations

import gc as collector
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from behaviour import does, leaf
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import SAMPLES, Sample

import gradcore as gc
import gradcore.autograd.forward_ad as fwad
from gradcore.autograd import tape
from gradcore.autograd.grad_mode import mode
from gradcore.ops import REGISTRY, Elementwise

# (Not the mean of nothing, which is NaN.)
DIFFERENTIABLE = [s for s in SAMPLES if s.differentiable and s.id != "mean-7"]
samples = pytest.mark.parametrize("sample", DIFFERENTIABLE, ids=lambda s: s.id)


def directions(tensors: list[Any], generator: np.random.Generator) -> list[Any]:
    return [gc.tensor(generator.standard_normal(t.shape), dtype=t.dtype, device=t.device) for t in tensors]


def forward(function: Callable[..., Any], primals: list[Any], tangents: list[Any]) -> tuple[Any, Any]:
    with fwad.dual_level():
        return tuple(fwad.unpack_dual(function(*map(fwad.make_dual, primals, tangents))))  # type: ignore[return-value]


# ---------------------------------------------------------------- every op
@samples
def test_forward_mode_agrees_with_backward_mode(sample: Sample) -> None:
    """u @ (J @ v) == (u @ J) @ v."""
    generator = np.random.default_rng(0)
    primals = [gc.tensor(a) for a in sample.arrays("float64")]
    vs = directions(primals, generator)
    value, tangent = forward(lambda *xs: sample.function(gc, *xs), primals, vs)
    inputs = [t.requires_grad_() for t in primals]
    out = sample.function(gc, *inputs)
    assert gc.equal(value, out.detach())
    if tangent is None:
        tangent = gc.zeros_like(out)
    assert tangent.shape == out.shape and tangent.dtype is out.dtype
    (u,) = directions([out], generator)
    grads = gc.autograd.grad(out, inputs, u, allow_unused=True)
    expected = sum(float((g.double() * v).sum()) for g, v in zip(grads, vs) if g is not None)
    assert float((u * tangent).sum()) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@samples
def test_forward_mode_in_batches_of_tangents(sample: Sample) -> None:
    inputs = [gc.tensor(a, requires_grad=True) for a in sample.arrays("float64")]
    options = {"check_backward_ad": False, "check_forward_ad": True, "fast_mode": True}
    assert gc.autograd.gradcheck(
        lambda *xs: sample.function(gc, *xs), inputs, check_batched_forward_grad=True, **options
    )


@samples
def test_forward_mode_through_the_backward_pass(sample: Sample) -> None:
    inputs = [gc.tensor(a, requires_grad=True) for a in sample.arrays("float64")]
    assert gc.autograd.gradgradcheck(
        lambda *xs: sample.function(gc, *xs), inputs, check_fwd_over_rev=True, fast_mode=True
    )


@samples
def test_backward_pass_through_forward_mode(sample: Sample) -> None:
    generator = np.random.default_rng(1)
    inputs = [gc.tensor(a, requires_grad=True) for a in sample.arrays("float64")]
    vs = [v.requires_grad_() for v in directions(inputs, generator)]
    count = len(inputs)

    def tangent(*xs: Any) -> Any:
        value, found = forward(lambda *ps: sample.function(gc, *ps), list(xs[:count]), list(xs[count:]))
        return found if found is not None else gc.zeros_like(value)

    assert gc.autograd.gradcheck(tangent, (*inputs, *vs), fast_mode=True)


@pytest.mark.parametrize("sample", DIFFERENTIABLE[::7], ids=lambda s: s.id)
def test_devices_agree(sample: Sample, _cuda_reason: str | None) -> None:
    if _cuda_reason:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    found = []
    for device in ("cpu", "cuda"):
        primals = [gc.tensor(a, device=device) for a in sample.arrays("float64")]
        vs = directions(primals, np.random.default_rng(0))
        moved = type("m", (), {"device_in_use": device, "__getattr__": lambda self, name: getattr(gc, name)})()
        tangent = forward(lambda *xs, m=moved: sample.function(m, *xs), primals, vs)[1]
        found.append(None if tangent is None else tangent.cpu())
        assert tangent is None or tangent.device.type == device
    assert (found[0] is None) == (found[1] is None)
    assert found[0] is None or gc.allclose(found[0], found[1], equal_nan=True)


class Seen(tape.Observer):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def done(self, op: Any, inputs: Any, attrs: Any, results: Any) -> None:
        if op is not None:
            self.names.add(op.name)


def test_every_differentiable_op_has_a_sample() -> None:
    """In its function, its gradient, or the gradient of that."""
    seen = Seen()
    with tape.observing(seen):
        for sample in DIFFERENTIABLE:
            if any(0 in shape for shape in sample.shapes):
                continue
            xs = [gc.tensor(a, requires_grad=True) for a in sample.arrays("float64")]
            out = sample.function(gc, *xs)
            seed = gc.ones_like(out).requires_grad_()
            for g in gc.autograd.grad(out, xs, seed, create_graph=True, allow_unused=True):
                if g is not None and g.requires_grad:
                    gc.autograd.grad(g.sum(), [*xs, seed], create_graph=True, allow_unused=True)
    differentiable = {n for n, op in REGISTRY.items() if isinstance(op, Elementwise) and op.methods or _has_rules(op)}
    smooth = {n for n in differentiable if not _is_constant(REGISTRY[n])}
    # Recorded, never run; random (see test_dropout).
    assert smooth - seen.names - {"copy_slices", "dropout_random"} == set()


def _has_rules(op: Any) -> bool:
    return bool(getattr(op, "rules", None))


def _is_constant(op: Any) -> bool:
    if not isinstance(op, Elementwise):
        return False
    program = op.program_of(op.split([object()] * len(op.inputs), {})[0])
    return program.output_kind(0) != "value" or op.promote == "integral" or op.name == "floor_divide"


def test_dropout() -> None:
    x, v = gc.ones(50), gc.arange(50.0)
    value, tangent = forward(lambda t: gc.nn.functional.dropout(t, 0.5), [x], [v])
    assert 0 < int((value == 0).sum()) < 50 and gc.equal(tangent, value * v)


def test_what_a_model_does(device: str) -> None:
    """A whole step of a network: gradient of the loss along a direction of the parameters."""
    model = gc.nn.Sequential(gc.nn.Linear(4, 8), gc.nn.LayerNorm(8), gc.nn.GELU(), gc.nn.Linear(8, 3)).to(device)
    x, target = gc.randn(5, 4, device=device), gc.tensor([0, 1, 2, 0, 1], device=device)

    def loss(*parameters: Any) -> Any:
        named = dict(zip([n for n, _ in model.named_parameters()], parameters))
        return gc.nn.functional.cross_entropy(gc.func.functional_call(model, named, (x,)), target)

    parameters = [p.detach() for p in model.parameters()]
    vs = directions(parameters, np.random.default_rng(0))
    value, tangent = forward(loss, parameters, vs)
    model.zero_grad()
    out = loss(*model.parameters())
    out.backward()
    expected = sum(float((p.grad * v).sum()) for p, v in zip(model.parameters(), vs))
    assert value.item() == pytest.approx(out.item(), rel=1e-6)
    assert tangent.item() == pytest.approx(expected, rel=1e-4)


# ---------------------------------------------------------------- memory shared
def _dual(m: Any, d: str, values: Any, tangent: Any) -> Any:
    return m.autograd.forward_ad.make_dual(m.tensor(values, device=d), m.tensor(tangent, device=d))


def _both(m: Any, *tensors: Any) -> list[Any]:
    return [list(m.autograd.forward_ad.unpack_dual(t)) for t in tensors]


def _inplace(m: Any, d: str) -> Any:
    z = _dual(m, d, [1.0, 2.0], [3.0, 4.0])
    z.mul_(z.clone()).add_(1).exp_()
    return _both(m, z)


def _inplace_with_a_dual(m: Any, d: str) -> Any:
    a = m.tensor([1.0, 2.0], device=d)
    a.mul_(_dual(m, d, [1.0, 2.0], [3.0, 4.0]))
    return _both(m, a)


def _a_view_is_changed(m: Any, d: str) -> Any:
    base = m.ones(2, 2, device=d)
    row = base[0]
    row.mul_(_dual(m, d, [1.0, 2.0], [3.0, 4.0]))
    base.mul_(2)
    return _both(m, base, row, base.t(), base[1])


def _a_base_is_changed(m: Any, d: str) -> Any:
    base = m.ones(2, 2, device=d)
    before = base.view(4)[1:3]
    base.copy_(_dual(m, d, [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]))
    return _both(m, base, before)


def _setitem(m: Any, d: str) -> Any:
    z = _dual(m, d, [1.0, 2.0], [3.0, 4.0])
    a, b, c = m.zeros(3, device=d), _dual(m, d, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0]), m.zeros(2, 2, device=d)
    a[1:] = z
    b[m.tensor([0, 2], device=d)] = z
    b[1] = 0.0
    c[m.tensor([True, False], device=d)] = z
    return _both(m, a, b, c)


def _overwritten(m: Any, d: str) -> Any:
    z, y = _dual(m, d, [1.0, 2.0], [3.0, 4.0]), _dual(m, d, [1.0, 2.0], [3.0, 4.0])
    z.fill_(1)
    y[:1].zero_()
    return _both(m, z, y)


def _dual_shares(m: Any, d: str) -> Any:
    t = m.tensor([3.0, 4.0], device=d)
    x = m.tensor([1.0, 2.0], device=d)
    z = m.autograd.forward_ad.make_dual(x, t)
    z.mul_(2)
    return [x, t, *_both(m, z)]


def _several_results(m: Any, d: str) -> Any:
    z = _dual(m, d, [[1.0, 5.0], [3.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]])
    a, b = z.split(1)
    values, index = z.max(1)
    return [*_both(m, a, b, values, z.max(), z.amax(0)), index]


def _not_differentiable(m: Any, d: str) -> Any:
    z = _dual(m, d, [1.0, 2.0], [3.0, 4.0])
    return _both(m, z > 1, z.long(), z.argmax(), z.detach(), z.sign(), z.floor())


def _dtypes(m: Any, d: str) -> Any:
    z = _dual(m, d, [1.0, 2.0], [3.0, 4.0])
    w = m.ones(2, dtype=m.float64, device=d)
    return [[r.dtype for r in pair] for pair in _both(m, z * w, z.double(), z * 2, z.half())]


def _requires_grad(m: Any, d: str) -> Any:
    x, t = leaf(m, d, [1.0, 2.0]), leaf(m, d, [3.0, 4.0])
    z = m.autograd.forward_ad.make_dual(x, t)
    y = (z**3).sum()
    primal, tangent = m.autograd.forward_ad.unpack_dual(y)
    first = m.autograd.grad(tangent, (x, t), retain_graph=True)  # reverse over forward
    (g,) = m.autograd.grad(y, z, retain_graph=True)  # forward over reverse
    return [*first, *_both(m, g), m.autograd.grad(primal, x)]


SHARED = [_inplace, _inplace_with_a_dual, _a_view_is_changed, _a_base_is_changed, _setitem, _overwritten, _dual_shares,
          _several_results, _not_differentiable, _dtypes, _requires_grad]  # fmt: skip


@pytest.mark.parametrize("code", SHARED, ids=lambda f: f.__name__.strip("_"))
def test_as_pytorch(code: Callable[[Any, str], Any], device: str) -> None:
    def run(m: Any, d: str) -> Any:
        with m.autograd.forward_ad.dual_level():
            return code(m, d)

    assert does(run, device) is not None


def test_layouts_of_tangents() -> None:
    """What is a view of a tensor is a view of its tangent, whatever the tangent's strides were."""
    x = gc.arange(6.0).view(2, 3)
    for t in (gc.arange(6.0).view(3, 2).t(), gc.ones(1, 1).expand(2, 3), gc.arange(12.0).view(2, 6)[:, ::2]):
        for primal in (x, x.t().contiguous().t()):
            with fwad.dual_level():
                expected = t.clone()
                expected[0] *= 2
                z = fwad.make_dual(primal, t.clone() if t._is_view() else t)
                z[0].mul_(2)
                assert gc.equal(fwad.unpack_dual(z).tangent, expected)
                if primal.is_contiguous():
                    z.view(6)[4:].zero_()
                    assert gc.equal(fwad.unpack_dual(z).tangent.reshape(6)[4:], gc.zeros(2))


def test_a_tensor_that_is_multiplied_in_place_by_itself(device: str) -> None:
    """PyTorch has another tangent here: it takes the second operand when it has been changed."""
    with fwad.dual_level():
        z = fwad.make_dual(gc.tensor([1.0, 2.0], device=device), gc.tensor([3.0, 4.0], device=device))
        assert fwad.unpack_dual(z.mul_(z)).tangent.tolist() == [6.0, 16.0]


# ---------------------------------------------------------------- functions
class Cube(gc.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, scale: float) -> Any:
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)
        ctx.scale = scale
        return scale * x**3

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * ctx.scale * x**2 * g, None

    @staticmethod
    def jvp(ctx: Any, tangent: Any, scale: None) -> Any:
        (x,) = ctx.saved_tensors
        return 3 * ctx.scale * x**2 * tangent


def test_a_function_in_both_modes(device: str) -> None:
    x = gc.randn(3, dtype=gc.float64, device=device, requires_grad=True)
    for fast in (False, True):
        assert gc.autograd.gradcheck(lambda t: Cube.apply(t, 2.0), x, check_forward_ad=True, fast_mode=fast)
        assert gc.autograd.gradgradcheck(lambda t: Cube.apply(t, 2.0), x, check_fwd_over_rev=True, fast_mode=fast)
    wrong = type("Wrong", (Cube,), {"jvp": staticmethod(lambda ctx, t, _: 2 * t)}).apply
    for fast in (False, True):
        assert gc.autograd.gradcheck(lambda t: wrong(t, 2.0), x, fast_mode=fast)
        with pytest.raises(
            gc.autograd.GradcheckError, match="Jacobian computed with forward mode mismatch for output 0"
        ):
            gc.autograd.gradcheck(lambda t: wrong(t, 2.0), x, check_forward_ad=True, fast_mode=fast)
    undefined = type("Undefined", (Cube,), {"jvp": staticmethod(_only_without), "forward": staticmethod(_unfilled)})
    with pytest.raises(gc.autograd.GradcheckError, match="has an undefined tangent value"):
        pair = (x, gc.randn(3, dtype=gc.float64, device=device, requires_grad=True))
        gc.autograd.gradcheck(undefined.apply, pair, check_forward_ad=True, check_backward_ad=False)


def _unfilled(ctx: Any, x: Any, y: Any) -> Any:
    ctx.set_materialize_grads(False)
    return x + y


def _only_without(ctx: Any, t: Any, s: Any) -> Any:
    return 2 * (t if t is not None else s) if t is None or s is None else t + s


# ---------------------------------------------------------------- with the transforms of gradcore.func
def _push(function: Callable[..., Any], x: Any, v: Any) -> Any:
    return forward(function, [x], [v])[1]


def _smooth(x: Any) -> Any:
    return (x.sin() @ x.t().exp()).softmax(-1) * x.sum()


def _scalar(x: Any) -> Any:
    return (_smooth(x) ** 2).sum()


def _in_place(x: Any) -> Any:
    y = x * 1
    y[0].mul_(2)
    y += x.sum()
    y[1] = y[0]
    return y


def _classified(x: Any) -> Any:
    target = gc.tensor([0, 1, 1], device=x.device)
    return gc.nn.functional.cross_entropy(gc.nn.functional.linear(x, x[:2] * 2, x[0, :2]), target)


@pytest.fixture
def batch() -> tuple[Any, Any]:
    return gc.randn(4, 3, 3, dtype=gc.float64), gc.randn(4, 3, 3, dtype=gc.float64)


@pytest.mark.parametrize("function", [_smooth, _in_place, _classified], ids=lambda f: f.__name__)
def test_vmap_of_forward_mode_and_forward_mode_of_vmap(function: Callable[..., Any], batch: tuple[Any, Any]) -> None:
    xs, vs = batch
    each = gc.stack([_push(function, x, v) for x, v in zip(xs, vs)])
    assert gc.allclose(gc.func.vmap(lambda x, v: _push(function, x, v))(xs, vs), each)
    assert gc.allclose(_push(gc.func.vmap(function), xs, vs), each)


def test_jacobians_and_hessians_by_vmap(batch: tuple[Any, Any]) -> None:
    x, basis = batch[0][0], gc.tensor(np.eye(9).reshape(9, 3, 3))
    jacobian = gc.func.vmap(lambda v: _push(_smooth, x, v))(basis)
    assert gc.allclose(jacobian.reshape(9, 9).t(), gc.func.jacrev(_smooth)(x).reshape(9, 9))
    hessian = gc.func.vmap(lambda v: _push(gc.func.grad(_scalar), x, v))(basis)
    assert gc.allclose(hessian.reshape(9, 9), gc.func.hessian(_scalar)(x).reshape(9, 9))


def test_nested_with_other_transforms(batch: tuple[Any, Any]) -> None:
    (x, y, z, _), (v, *_) = batch
    hv = (gc.func.hessian(_scalar)(x).reshape(9, 9) @ v.reshape(9)).reshape(3, 3)
    assert gc.allclose(_push(gc.func.grad(_scalar), x, v), hv)
    assert gc.allclose(gc.func.grad(lambda t: _push(_scalar, t, v))(x), hv)
    for nested in (
        gc.func.jacrev(_smooth),
        lambda t: gc.func.jvp(_smooth, (t,), (z,))[1],
        lambda t: gc.func.vmap(gc.func.grad(_scalar))(batch[0] * t),
    ):
        difference = (nested(x + 1e-6 * v) - nested(x - 1e-6 * v)) / 2e-6
        assert gc.allclose(_push(nested, x, v), difference, atol=1e-6)


def test_a_level_around_vmap_is_not_used_within(batch: tuple[Any, Any]) -> None:
    xs, vs = batch
    with fwad.dual_level():
        dual = fwad.make_dual(xs[0], vs[0])
        found = fwad.unpack_dual(gc.func.vmap(lambda x: _smooth(x @ dual))(xs)).tangent
        with pytest.raises(RuntimeError, match="_make_dual: the level of forward mode was entered outside of the vmap"):
            gc.func.vmap(lambda x: fwad.make_dual(x, x))(xs)
        with pytest.raises(RuntimeError, match="_fw_primal: the level of forward mode was entered outside of the vmap"):
            gc.func.vmap(lambda x: fwad.unpack_dual(x).primal)(xs)
    assert gc.allclose(found, gc.stack([_push(lambda d, x=x: _smooth(x @ d), xs[0], vs[0]) for x in xs]))


def test_func_jvp_is_forward_mode() -> None:
    x, v = gc.randn(3), gc.randn(3)
    value, tangent = gc.func.jvp(lambda t: Cube.apply(t, 2.0), (x,), (v,))
    assert gc.allclose(value, 2 * x**3) and gc.allclose(tangent, 6 * x**2 * v)
    assert mode.dual_level is None
    only_backward = type("OnlyBackward", (Cube,), {"jvp": gc.autograd.Function.jvp})
    with pytest.raises(NotImplementedError, match="You must implement the jvp function"):
        gc.func.jvp(lambda t: only_backward.apply(t, 2.0), (x,), (v,))
    assert mode.dual_level is None


class Product(gc.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any, y: Any) -> Any:
        return x**3 * y, x.sum()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, t: Any, s: Any) -> Any:
        x, y = ctx.saved_tensors
        return 3 * x**2 * y * t + x**3 * s, t.sum()


@pytest.mark.parametrize("position", [0, 1])
def test_functions_on_batches(position: int) -> None:
    w, xs, vs = gc.randn(3), gc.randn(4, 3), gc.randn(4, 3)

    def function(x: Any) -> Any:
        return Product.apply(*((x, w) if position == 0 else (w, x)))

    def push(f: Callable[..., Any], x: Any, v: Any) -> tuple[Any, ...]:
        with fwad.dual_level():
            return tuple(fwad.unpack_dual(out).tangent for out in f(fwad.make_dual(x, v)))

    each = [gc.stack(found) for found in zip(*[push(function, x, v) for x, v in zip(xs, vs)])]
    for found in (
        push(gc.func.vmap(function), xs, vs),
        gc.func.vmap(lambda x, v: push(function, x, v))(xs, vs),
        gc.func.jvp(gc.func.vmap(function), (xs,), (vs,))[1],
    ):
        assert all(map(gc.allclose, found, each))


def test_checkpoints(device: str) -> None:
    x = gc.randn(3, dtype=gc.float64, device=device, requires_grad=True)

    def function(t: Any) -> Any:
        return gc.utils.checkpoint.checkpoint(lambda u: (u.exp() * u).sum(), t, use_reentrant=False)

    assert gc.autograd.gradcheck(function, x, check_forward_ad=True)
    assert gc.autograd.gradgradcheck(function, x, check_fwd_over_rev=True)


def test_ops_of_the_user() -> None:
    leaky = gc.elementwise(lambda x, y: x * y + x / (1 + y * y), name="leaky_for_forward_mode")
    x, y = (gc.randn(3, dtype=gc.float64, requires_grad=True) for _ in range(2))
    assert gc.autograd.gradcheck(leaky, (x, y), check_forward_ad=True, check_batched_forward_grad=True)
    assert gc.autograd.gradgradcheck(leaky, (x, y), check_fwd_over_rev=True)


# ---------------------------------------------------------------- levels
def test_levels_are_of_threads_and_end() -> None:
    watchers = tape._watchers
    with fwad.dual_level() as level:
        assert level == 0
        z = fwad.make_dual(gc.ones(2), gc.ones(2))
        errors: list[Exception] = []

        def other() -> None:
            try:
                assert fwad.unpack_dual(z).tangent is None and fwad.unpack_dual(z * 2).tangent is None
                with fwad.dual_level():
                    assert fwad.unpack_dual(z).tangent is None
                    assert fwad.unpack_dual(fwad.make_dual(gc.ones(2), gc.ones(2)) * 2).tangent.tolist() == [2.0, 2.0]
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert not errors and fwad.unpack_dual(z * 2).tangent.tolist() == [2.0, 2.0]
        with fwad.set_forward_grad_enabled(False):
            assert fwad.unpack_dual(z * 2).tangent is None
        fwad.set_forward_grad_enabled(False)
        y = z * 2
        fwad.set_forward_grad_enabled(True)
        assert fwad.unpack_dual(y).tangent is None
    assert tape._watchers == watchers and fwad.unpack_dual(z).tangent is None

    @fwad.dual_level()
    def slope(t: Any) -> Any:
        return fwad.unpack_dual(fwad.make_dual(t, gc.ones_like(t)) ** 2).tangent

    assert slope(gc.ones(1)).tolist() == slope(gc.ones(1)).tolist() == [2.0]
    with pytest.raises(KeyError), fwad.dual_level():
        raise KeyError
    assert tape._watchers == watchers


def test_memory_of_tangents_is_free_at_the_end_of_the_level_and_before() -> None:
    collector.disable()
    try:
        with fwad.dual_level():
            z = fwad.make_dual(gc.ones(2), gc.ones(2))
            y = z.exp()
            dropped = weakref.ref(fwad.unpack_dual(y).tangent)
            del y
            assert dropped() is None
            kept = fwad.make_dual(gc.ones(2, requires_grad=True), gc.ones(2)).exp()
            held = weakref.ref(fwad.unpack_dual(kept).tangent)
            assert held() is not None
        assert held() is None and kept is not None
    finally:
        collector.enable()


# ---------------------------------------------------------------- properties
UNARY: list[Callable[[Any], Any]] = [
    lambda t: t.sin(), lambda t: t * t, lambda t: t.softmax(-1), lambda t: t.t(), lambda t: t @ t.t(),
    lambda t: t[:1] + t, lambda t: t.sum(0, keepdim=True) * t, lambda t: t.sigmoid(), lambda t: gc.cat([t, t.cos()]),
    lambda t: gc.where(t > 0, t, t * 0.5), lambda t: t.clone().mul_(t), lambda t: t.reshape(-1, 1),
    lambda t: t - t.mean(),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.integers(0, len(UNARY) - 1), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_compositions(steps: list[int], seed: int) -> None:
    """Linear in the tangent, the transpose of the backward pass, and symmetric second derivatives."""
    generator = np.random.default_rng(seed)
    x = gc.tensor(generator.standard_normal((2, 3)) * 0.5)
    v, w = directions([x, x], generator)

    def function(t: Any) -> Any:
        for i in steps:
            t = UNARY[i](t)
        return t

    _, tv = forward(function, [x], [v])
    _, tw = forward(function, [x], [w])
    _, both = forward(function, [x], [2 * v - w])
    assert gc.allclose(both, 2 * tv - tw, rtol=1e-9, atol=1e-9)
    leaf_ = x.clone().requires_grad_()
    out = function(leaf_)
    (u,) = directions([out], generator)
    (g,) = gc.autograd.grad((out * u).sum(), leaf_)
    assert float((u * tv).sum()) == pytest.approx(float((g * v).sum()), rel=1e-9, abs=1e-9)

    def scalar(t: Any) -> Any:
        return (function(t) * u).sum()

    # v @ H @ w and w @ H @ v, by both orders of the modes.
    with fwad.dual_level():
        dual = fwad.make_dual(x.clone().requires_grad_(), v)
        hv = fwad.unpack_dual(gc.autograd.grad(scalar(dual), dual)[0]).tangent
    again = x.clone().requires_grad_()
    (tangent_w,) = [forward(scalar, [again], [w])[1]]
    hw = gc.autograd.grad(tangent_w, again, allow_unused=True)[0] if tangent_w.requires_grad else None
    hw = gc.zeros_like(x) if hw is None else hw
    hv = gc.zeros_like(x) if hv is None else hv
    assert float((hv * w).sum()) == pytest.approx(float((hw * v).sum()), rel=1e-7, abs=1e-7)
