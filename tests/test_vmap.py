"""`vmap`: every op on a batch against a loop over its members, how levels nest, and what it refuses."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from conftest import TOLERANCE
from hypothesis import given
from hypothesis import strategies as st
from samples import SAMPLES

import gradcore as gc
from gradcore.autograd.grad_mode import mode
from gradcore.func import functional_call, grad, jacrev, stack_module_state, vjp, vmap
from gradcore.ops import REGISTRY

SIZE = 3
# Their first input is changed in place (a copy of it), which must be batched then, as in PyTorch.
IN_PLACE = ("setitem", "add_", "index_add_", "mul_", "sub_", "mul_ on a view")


def members(sample, seed):
    return sample.arrays("float64", seed)


def batched_inputs(sample, which, dim):
    """The inputs of a sample: those of `which` in batches along `dim`, the others the same for all members."""
    each = [members(sample, seed) for seed in range(SIZE)]
    batches = [np.stack([m[i] for m in each], axis=dim) if i in which else each[0][i] for i in range(len(each[0]))]
    loops = [[m[i] if i in which else each[0][i] for i in range(len(m))] for m in each]
    return batches, loops


def subsets(sample):
    count = len(sample.shapes)
    found = [c for n in range(1, count + 1) for c in itertools.combinations(range(count), n)]
    return [c for c in found if 0 in c] if sample.name in IN_PLACE else found


def close(found, expected, dtype=gc.float64):
    rtol, atol = TOLERANCE[dtype]
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.id)
def test_a_batch_is_a_loop(sample):
    for which in subsets(sample):
        for dim in (0, -1):
            batches, loops = batched_inputs(sample, which, dim)
            dims = tuple(dim if i in which else None for i in range(len(batches)))
            found = vmap(lambda *xs: sample.function(gc, *xs), in_dims=dims)(*map(gc.tensor, batches))
            expected = np.stack([sample.function(gc, *map(gc.tensor, m)).numpy() for m in loops])
            assert found.dtype == gc.tensor(expected).dtype
            close(found, expected)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.differentiable], ids=lambda s: s.id)
def test_gradients_of_a_batch_are_those_of_a_loop(sample):
    """Those of each member, computed within the batch; and those through the batch."""

    def function(*xs):
        return sample.function(gc, *xs)

    for which in subsets(sample):
        batches, loops = batched_inputs(sample, which, 0)
        seed = np.random.default_rng(1).standard_normal((SIZE, *function(*map(gc.tensor, loops[0])).shape))
        expected = []
        for m, s in zip(loops, seed):
            expected.append(vjp(function, *map(gc.tensor, m))[1](gc.tensor(s)))
        dims = tuple(0 if i in which else None for i in range(len(batches)))

        def within(s, *xs):
            return vjp(function, *xs)[1](s)

        found = vmap(within, in_dims=(0, *dims))(gc.tensor(seed), *map(gc.tensor, batches))
        for i, g in enumerate(found):
            close(g, np.stack([e[i].numpy() for e in expected]))
        through = vjp(vmap(function, in_dims=dims), *map(gc.tensor, batches))[1](gc.tensor(seed))
        for i, g in enumerate(through):
            each = np.stack([e[i].numpy() for e in expected])
            close(g, each if i in which else each.sum(0))


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.differentiable], ids=lambda s: s.id)
def test_batched_gradients(sample):
    """Several gradients of one forward pass at once, also where the pass is recorded."""
    leaves = [gc.tensor(a, requires_grad=True) for a in members(sample, 0)]
    out = sample.function(gc, *leaves)
    seeds = gc.tensor(np.random.default_rng(1).standard_normal((SIZE, *out.shape)))
    for create_graph in (False, True):
        options = {"retain_graph": True, "create_graph": create_graph, "allow_unused": True}
        found = gc.autograd.grad(out, leaves, seeds, is_grads_batched=True, **options)
        each = [gc.autograd.grad(out, leaves, s, **options) for s in seeds]
        for k, g in enumerate(found):
            assert (g is None) == (each[0][k] is None)
            if g is not None:
                close(g, np.stack([e[k].detach().numpy() for e in each]))
                assert g.requires_grad == each[0][k].requires_grad


# Ops without a rule of their own: by what they run on batches.
BY_COMPOSITE = {"cross_entropy_rows", "ctc_losses", "lstm_layer", "nll_loss_rows", "rnn_layer"}
NEVER_RUN = {"copy_slices"}


def test_every_op_has_a_rule():
    """Derived (elementwise ops), declared, or that of its composite."""
    without = {name for name, op in REGISTRY.items() if op.batch_rule is None}
    assert without == BY_COMPOSITE | NEVER_RUN
    assert all(REGISTRY[name].composite is not None for name in BY_COMPOSITE)


# ---------------------------------------------------------------- promotion, dimensions, devices
DTYPES = [gc.bool, gc.uint8, gc.int32, gc.int64, gc.float16, gc.bfloat16, gc.float32, gc.float64]


@pytest.mark.parametrize("a", DTYPES, ids=str)
@pytest.mark.parametrize("b", DTYPES, ids=str)
def test_promotion_is_that_of_the_members(a, b):
    for first, second in itertools.product([(), (2,)], repeat=2):
        x, y = gc.ones(SIZE, *first, dtype=a), gc.ones(SIZE, *second, dtype=b)
        for op in (gc.add, gc.mul, gc.maximum):
            found = vmap(op)(x, y)
            assert found.dtype == op(x[0], y[0]).dtype
            assert vmap(op, in_dims=(0, None))(x, y[0]).dtype == found.dtype
            close(found.float(), np.stack([op(p, q).float().numpy() for p, q in zip(x, y)]), gc.float32)


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "var", "prod", "softmax", "argmax", "norm"])
def test_zero_dimensional_members(name):
    x = gc.tensor([0.5, -1.0, 2.0])
    for options in ({"dim": 0}, {"dim": -1}):
        if name != "softmax":
            options = {**options, "keepdim": True}
        if name == "var":
            options["correction"] = 0
        function = functools.partial(getattr(gc, name), **options)
        close(vmap(function)(x), np.stack([function(t).numpy() for t in x]), gc.float32)
        with pytest.raises(IndexError, match="Dimension out of range"):
            vmap(functools.partial(getattr(gc, name), dim=1))(x)


def test_shapes_are_those_of_a_member():
    seen = []

    def look(a, b):
        seen.extend([a.shape, a.ndim, a.size(0), a.numel(), a.stride(), a.is_contiguous(), a.dtype, len(a), b.shape])
        return a

    vmap(look, in_dims=(1, None))(gc.zeros(2, 3), gc.zeros(4))
    assert seen == [(2,), 1, 2, 2, (3,), False, gc.float32, 2, (4,)]


def test_repr():
    seen = []
    vmap(vmap(lambda t: (seen.append(repr(t)), t)[1]))(gc.arange(4.0).reshape(2, 2))
    assert seen == [
        "BatchedTensor(lvl=2, bdim=0, value=\n    BatchedTensor(lvl=1, bdim=0, value=\n        tensor([[0., 1.],\n"
        "                [2., 3.]])\n    )\n)"
    ]


def per_sample_gradients(device):
    model = gc.nn.Sequential(gc.nn.Linear(4, 5), gc.nn.Tanh(), gc.nn.LayerNorm(5), gc.nn.Linear(5, 3)).to(device)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    x, y = gc.randn(6, 4, device=device), gc.tensor([0, 1, 2, 2, 1, 0], device=device)

    def loss(parameters, x, y):
        return gc.nn.functional.cross_entropy(functional_call(model, parameters, x.unsqueeze(0)), y.unsqueeze(0))

    return loss, parameters, x, y


def test_per_sample_gradients(device):
    loss, parameters, x, y = per_sample_gradients(device)
    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    chunked = vmap(grad(loss), in_dims=(None, 0, 0), chunk_size=4)(parameters, x, y)
    each = [grad(loss)(parameters, a, b) for a, b in zip(x, y)]
    for name, p in parameters.items():
        assert found[name].shape == (6, *p.shape)
        expected = np.stack([g[name].cpu().numpy() for g in each])
        close(found[name], expected, gc.float32)
        close(chunked[name], expected, gc.float32)


def test_ensembles(device):
    models = [gc.nn.Linear(3, 2).to(device) for _ in range(4)]
    parameters, buffers = stack_module_state(models)
    x = gc.randn(4, 5, 3, device=device)

    def call(parameters, buffers, x):
        return functional_call(models[0], (parameters, buffers), (x,))

    found = vmap(call)(parameters, buffers, x)
    close(found, np.stack([m(a).detach().cpu().numpy() for m, a in zip(models, x)]), gc.float32)
    found.square().sum().backward()
    for i, model in enumerate(models):
        model(x[i]).square().sum().backward()
    close(parameters["weight"].grad, np.stack([m.weight.grad.cpu().numpy() for m in models]), gc.float32)


def test_indexing_on_a_device(device):
    x = gc.arange(24.0, device=device).reshape(2, 3, 4)
    index = gc.tensor([[2, 0], [1, 1]], device=device)
    found = vmap(grad(lambda a, i: (a[i] * a[i]).sum()))(x, index)
    close(found, np.stack([grad(lambda a, i: (a[i] * a[i]).sum())(a, i).cpu().numpy() for a, i in zip(x, index)]))


# ---------------------------------------------------------------- how levels nest
X = np.array([[0.7, -1.3, 0.4], [0.2, 0.9, -0.5]])
W = np.array([0.3, -0.8, 1.1])
NESTED = {
    "vmap(vmap)": lambda T, F, x, w: F.vmap(lambda a: F.vmap(lambda b: (a * b).sum())(x))(x),
    "vmap(grad)": lambda T, F, x, w: F.vmap(F.grad(lambda a: (a * w).sin().sum()))(x),
    "vmap(grad), the same for all": lambda T, F, x, w: F.vmap(
        F.grad(lambda w, a: (a * w).sin().sum()), in_dims=(None, 0)
    )(w, x),
    "vmap(grad), captured": lambda T, F, x, w: F.vmap(lambda a: F.grad(lambda w: (a * w).sin().sum())(w))(x),
    "vmap(grad) that does not depend on the batch": lambda T, F, x, w: F.vmap(
        lambda a: F.grad(lambda w: (w * w).sum())(w) * a
    )(x),
    "grad(vmap)": lambda T, F, x, w: F.grad(lambda w: F.vmap(lambda a: (a * w).sin().sum())(x).sum())(w),
    "grad(vmap(grad))": lambda T, F, x, w: F.grad(
        lambda w: F.vmap(F.grad(lambda a: (a * w).sin().sum()))(x).pow(2).sum()
    )(w),
    "grad(vmap(grad)) by one": lambda T, F, x, w: F.grad(
        lambda w: F.vmap(lambda a: F.grad(lambda w: (a * w).sin().sum())(w))(x).pow(2).sum()
    )(w),
    "vmap(hessian)": lambda T, F, x, w: F.vmap(F.hessian(lambda a: (a * w).sin().sum() * a.prod()))(x),
    "jacrev(vmap)": lambda T, F, x, w: F.jacrev(F.vmap(lambda a: a.softmax(0) * w))(x),
    "vmap(jacrev)": lambda T, F, x, w: F.vmap(F.jacrev(lambda a: a.softmax(0) * w))(x),
    "vmap(jacfwd)": lambda T, F, x, w: F.vmap(F.jacfwd(lambda a: a.softmax(0) * w))(x),
    "vmap(jvp)": lambda T, F, x, w: F.vmap(lambda a: F.jvp(lambda b: (b * w).sin(), (a,), (w,))[1])(x),
    "vmap(vjp)": lambda T, F, x, w: F.vmap(lambda a: F.vjp(lambda b: b.exp(), a)[1](w)[0])(x),
    "vmap(vmap(grad))": lambda T, F, x, w: F.vmap(
        lambda a: F.vmap(F.grad(lambda b: (a * b).exp().sum()))(x)
    )(x),
    "three gradients": lambda T, F, x, w: F.vmap(
        lambda a: F.grad(lambda b: F.grad(lambda c: (c * c * b).sum())(b).sum())(a)
    )(x),
    "detach inside": lambda T, F, x, w: F.grad(lambda x: F.vmap(lambda a: a * a.detach())(x).sum())(x),
    "no_grad inside": lambda T, F, x, w: F.grad(lambda x: F.vmap(lambda a: without_grad(T, a) * a)(x).sum())(x),
    "no_grad inside a gradient inside": lambda T, F, x, w: F.grad(
        lambda x: F.vmap(F.grad(lambda a: (without_grad(T, a) * a**3).sum()))(x).sum()
    )(x),
    "no_grad beside a gradient": lambda T, F, x, w: F.vmap(
        lambda a: without_grad(T, a) + F.grad(lambda b: (b**2).sum())(a)
    )(x),
    "in place": lambda T, F, x, w: F.vmap(F.grad(lambda a: changed(a) @ w))(x),
    "gradient through in place": lambda T, F, x, w: F.grad(lambda x: F.vmap(lambda a: changed(a) @ w)(x).sum())(x),
    "a view in place": lambda T, F, x, w: F.vmap(lambda a: rows_changed(a, w))(x.reshape(2, 3, 1).expand(2, 3, 2)),
    "indexing by each": lambda T, F, x, w: F.vmap(lambda a, i: a[i])(x, T.tensor([2, 0])),
    "indexing the same by each": lambda T, F, x, w: F.vmap(lambda i: x[:, i] * w[i])(T.tensor([[2, 0], [1, 1]])),
    "writing by each": lambda T, F, x, w: F.vmap(lambda a, i: written(a, i))(x, T.tensor([[2, 0], [1, 1]])),
    "apart indices": lambda T, F, x, w: F.vmap(lambda a, i: a[i, :, i])(
        x.reshape(1, 2, 3, 1) * w.reshape(1, 1, 1, 3), T.tensor([[1, 0]])
    ),
}  # fmt: skip


def without_grad(T, a):
    with T.no_grad():
        return a * 2


def changed(a):
    b = a * 2
    b[1] = a[0] * a[2]
    b.mul_(a)
    return b


def rows_changed(a, w):
    b = a.clone()
    b.t()[0].mul_(w)
    return b


def written(a, i):
    b = a.clone()
    b[i] = a[:2] * 3
    return b


@pytest.mark.parametrize("name", NESTED)
def test_nesting_as_pytorch(name, oracle):
    function = NESTED[name]
    found = function(gc, gc.func, gc.tensor(X), gc.tensor(W))
    expected = function(oracle, oracle.func, oracle.tensor(X), oracle.tensor(W))
    assert found.shape == tuple(expected.shape)
    close(found, expected.detach().numpy())
    assert not found.requires_grad


def test_history_leads_out_of_a_batch():
    w = gc.tensor(W, requires_grad=True)
    vmap(lambda a: (a * w).sum())(gc.tensor(X)).sum().backward()
    close(w.grad, X.sum(0))
    with gc.no_grad():
        assert not vmap(lambda a: a * w)(gc.tensor(X)).requires_grad


@given(st.data())
def test_dimensions(data):
    """Of any two arguments, results with the batch anywhere, in two levels."""
    shape = tuple(data.draw(st.lists(st.integers(1, 3), min_size=2, max_size=4)))
    x = np.random.default_rng(0).standard_normal(shape)
    ndim = len(shape)
    outer, inner = data.draw(st.integers(-ndim, ndim - 1)), data.draw(st.integers(1 - ndim, ndim - 2))
    out_inner, out_outer = data.draw(st.integers(1 - ndim, ndim - 2)), data.draw(st.integers(-ndim, ndim - 1))
    found = vmap(vmap(lambda a: a * 2, inner, out_inner), outer, out_outer)(gc.tensor(x))
    each = [np.moveaxis(member, inner, out_inner) for member in np.moveaxis(x, outer, 0)]
    close(found, 2 * np.stack(each, axis=out_outer))


# ---------------------------------------------------------------- randomness
def test_random_numbers():
    x = gc.zeros(3, 200)
    for draw in (
        lambda a: a + gc.rand(200),
        lambda a: gc.randn_like(a),
        lambda a: gc.nn.functional.dropout(a + 1),
        lambda a: gc.nn.functional.dropout(gc.ones(200)) + a,
        lambda a: gc.randint(0, 100, (200,)) + a,
        lambda a: gc.randperm(200) + a,
        lambda a: a.clone().uniform_(),
        lambda a: gc.nn.functional.dropout(a + 1, inplace=True),
    ):
        with pytest.raises(RuntimeError, match="randomness error mode"):
            vmap(draw)(x)
        one, two, three = vmap(draw, randomness="different")(x)
        assert not (one == two).all() and not (two == three).all()
        one, two, three = vmap(draw, randomness="same")(x)
        assert (one == two).all() and (two == three).all()
        chunks = vmap(draw, randomness="same", chunk_size=2)(x)
        assert (chunks[0] == chunks[2]).all()
    nested = vmap(vmap(lambda a: gc.rand(4), randomness="same"), randomness="different")(gc.zeros(2, 3, 1))
    assert (nested[0, 0] == nested[0, 1]).all() and not (nested[0, 0] == nested[1, 0]).any()
    with pytest.raises(RuntimeError, match="different inplace randomness on an unbatched tensor"):
        vmap(lambda a: gc.zeros(3).uniform_(), randomness="different")(x)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_gradient_of_dropout_is_that_of_its_mask(randomness):
    def dropped(a):
        return gc.nn.functional.dropout(a, 0.3)

    x, w = gc.ones(2, 50), gc.tensor([[1.0], [2.0]])
    gc.manual_seed(1)
    value = vmap(dropped, randomness=randomness)(x)
    assert value.numpy().any() and not value.numpy().all()
    assert bool((value[0] == value[1]).all()) == (randomness == "same")
    gc.manual_seed(1)
    close(vmap(grad(lambda a: dropped(a).sum()), randomness=randomness)(x), value.numpy(), gc.float32)
    gc.manual_seed(1)
    through = grad(lambda x: (vmap(dropped, randomness=randomness)(x) * w).sum())(x)
    close(through, (value * w).numpy(), gc.float32)


def test_jacobians_of_dropout_have_one_mask():
    x = gc.ones(20, requires_grad=True)
    y = gc.nn.functional.dropout(x, 0.3)
    for create_graph in (False, True):
        (found,) = gc.autograd.grad(
            y, x, gc.eye(20), is_grads_batched=True, retain_graph=True, create_graph=create_graph
        )
        close(found, np.diag(y.detach().numpy()), gc.float32)


# ---------------------------------------------------------------- custom Functions
class Round(gc.autograd.Function):
    """Rounds, with the gradient of the square: what is differentiated is told by its backward alone."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x, factor):
        return (x * factor).round()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0], output)
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, g):
        x, output = ctx.saved_tensors
        return g * x * ctx.factor * (1 + output), None


class RoundByHand(Round):
    generate_vmap_rule = False
    calls = []

    @staticmethod
    def vmap(info, in_dims, x, factor):
        RoundByHand.calls.append((info.batch_size, info.randomness, in_dims))
        return RoundByHand.apply(x, factor), in_dims[0]


@pytest.mark.parametrize("cls", [Round, RoundByHand])
def test_custom_functions(cls):
    x = gc.tensor(X * 3)
    loop = gc.stack([Round.apply(a, 2) for a in x])
    close(vmap(lambda a: cls.apply(a, 2))(x), loop.numpy())
    close(vmap(vmap(lambda a: cls.apply(a, 2)), in_dims=1, out_dims=1)(x), loop.numpy())
    gradient = x * 2 * (1 + loop)
    close(vmap(grad(lambda a: cls.apply(a, 2).sum()))(x), gradient.numpy())
    close(grad(lambda x: vmap(lambda a: cls.apply(a, 2))(x).sum())(x), gradient.numpy())
    second = 2 * (1 + loop) + x * 2 * (x * 2 * (1 + loop))
    close(grad(lambda x: vmap(grad(lambda a: cls.apply(a, 2).sum()))(x).sum())(x), second.numpy())
    w = gc.tensor(W)
    close(
        grad(lambda w: vmap(lambda a: cls.apply(a * w, 2))(x).sum())(w),
        (x * (x * w * 2) * (1 + (x * w * 2).round())).sum(0).numpy(),
    )
    close(vmap(lambda a: grad(lambda w: cls.apply(w, 2).sum())(w) * a)(x), (w * 2 * (1 + (w * 2).round()) * x).numpy())
    if cls is RoundByHand:
        assert RoundByHand.calls[0] == (2, "error", (0, None))


def test_functions_without_a_rule():
    class Plain(Round):
        generate_vmap_rule = False

    class Both(RoundByHand):
        generate_vmap_rule = True

    class Old(gc.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    x = gc.tensor(X)
    with pytest.raises(RuntimeError, match="You tried to vmap over Plain, but it does not have vmap support"):
        vmap(lambda a: Plain.apply(a, 2))(x)
    with pytest.raises(RuntimeError, match="has both generate_vmap_rule=True and an overridden vmap"):
        vmap(lambda a: Both.apply(a, 2))(x)
    with pytest.raises(RuntimeError, match="must override the setup_context staticmethod"):
        vmap(Old.apply)(x)


# ---------------------------------------------------------------- the users' own ops
def test_own_expressions():
    damped = gc.elementwise(lambda x, y: x * gc.exp(-y))
    rms = gc.reduction(lambda x: x * x, finish=lambda total, count: gc.sqrt(total / count))
    largest = gc.reduction(lambda x, y: x * y, "max")
    x, w = gc.tensor(X), gc.tensor(W)
    for function in (
        lambda a: damped(a, w),
        lambda a: rms(a.unsqueeze(0), dim=1),
        lambda a: rms(a),
        lambda a: largest(a, w, dim=-1, keepdim=True),
    ):
        close(vmap(function)(x), np.stack([function(a).numpy() for a in x]))
        total = grad(lambda a, f=function: (f(a) ** 2).sum())
        close(vmap(total)(x), np.stack([total(a).numpy() for a in x]))


# ---------------------------------------------------------------- jacobians
def test_chunks_of_jacobians():
    x = gc.tensor(X)
    expected = jacrev(lambda a: a.exp() @ a.T)(x)
    for chunk_size in (1, 2, 3, 100):
        close(jacrev(lambda a: a.exp() @ a.T, chunk_size=chunk_size)(x), expected.numpy())
    for vectorize, strategy in itertools.product((False, True), ("reverse-mode", "forward-mode")):
        close(
            gc.autograd.functional.jacobian(lambda a: a.exp() @ a.T, x, vectorize=vectorize, strategy=strategy),
            expected.numpy(),
        )


def test_gradcheck_of_batches():
    class Peeking(gc.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2 if g.sum().item() > -100 else g

    x = gc.tensor(X, requires_grad=True)
    assert gc.autograd.gradcheck(Peeking.apply, x)
    with pytest.raises(
        RuntimeError, match="While computing batched gradients, got: vmap: It looks like you're calling"
    ):
        gc.autograd.gradcheck(Peeking.apply, x, check_batched_grad=True)
    assert gc.autograd.gradcheck(lambda a: a.exp() @ a.T, x, check_batched_grad=True)
    assert gc.autograd.gradgradcheck(lambda a: a.exp() @ a.T, x, check_batched_grad=True)


# ---------------------------------------------------------------- what is refused
def _escaping(T):
    kept = []
    T.func.vmap(lambda a: (kept.append(a), a)[1])(T.zeros(2, 3))
    return kept[0] + 1


REFUSED = {
    "item": lambda T, x: T.func.vmap(lambda a: a.sum().item())(x),
    "float": lambda T, x: T.func.vmap(lambda a: float(a.sum()))(x),
    "branch": lambda T, x: T.func.vmap(lambda a: a if a.sum() > 0 else a * 2)(x),
    "tolist": lambda T, x: T.func.vmap(lambda a: a.tolist())(x),
    "numpy": lambda T, x: T.func.vmap(lambda a: a.numpy())(x),
    "tensor of tensors": lambda T, x: T.func.vmap(lambda a: T.tensor([a[0], a[1]]))(x),
    "mask": lambda T, x: T.func.vmap(lambda a: a[a > 1])(x),
    "backward": lambda T, x: T.func.vmap(lambda a: a.sum().backward())(x),
    "requires_grad_": lambda T, x: T.func.vmap(lambda a: a.requires_grad_())(x),
    "data": lambda T, x: T.func.vmap(lambda a: a.data)(x),
    "captured in place": lambda T, x: T.func.vmap(lambda a: T.zeros(3).copy_(a))(x),
    "captured item": lambda T, x: T.func.vmap(lambda a: T.zeros(3).__setitem__(0, a[0]))(x),
    "random": lambda T, x: T.func.vmap(lambda a: a + T.rand(3))(x),
    "randomness": lambda T, x: T.func.vmap(lambda a: a, randomness="x")(x),
    "no inputs": lambda T, x: T.func.vmap(lambda: 1)(),
    "number": lambda T, x: T.func.vmap(lambda a: a)(3),
    "in_dims of a wrong type": lambda T, x: T.func.vmap(lambda a: a, in_dims=1.5)(x),
    "in_dims no int": lambda T, x: T.func.vmap(lambda a: a["x"], in_dims=({"x": "a"},))({"x": x}),
    "in_dims out of range": lambda T, x: T.func.vmap(lambda a: a, in_dims=2)(x),
    "in_dims negative": lambda T, x: T.func.vmap(lambda a: a, in_dims=-3)(x),
    "zero dimensions": lambda T, x: T.func.vmap(lambda a: a)(T.tensor(1.0)),
    "sizes": lambda T, x: T.func.vmap(lambda a, b: a + b)(x, T.zeros(3, 3)),
    "None": lambda T, x: T.func.vmap(lambda a: a, in_dims=None)(x),
    "nothing mapped": lambda T, x: T.func.vmap(lambda a, b: a, in_dims=(None, None))(x, x),
    "list": lambda T, x: T.func.vmap(lambda a, b: a, in_dims=[0, None])(x, 3),
    "result no tensor": lambda T, x: T.func.vmap(lambda a: 1.0)(x),
    "result None": lambda T, x: T.func.vmap(lambda a: (a, None))(x),
    "out_dims None": lambda T, x: T.func.vmap(lambda a: a, out_dims=None)(x),
    "out_dims no int": lambda T, x: T.func.vmap(lambda a: a, out_dims="x")(x),
    "out_dims out of range": lambda T, x: T.func.vmap(lambda a: a, out_dims=2)(x),
    "chunk_size": lambda T, x: T.func.vmap(lambda a: a, chunk_size=0)(x),
    "batched gradients": lambda T, x: T.autograd.grad(
        x.requires_grad_() * 1, x, T.ones(3), is_grads_batched=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_pytorch_does(name, oracle):
    function = REFUSED[name]
    raised = []
    for T in (gc, oracle):
        with pytest.raises(Exception) as info:
            function(T, T.arange(6.0).reshape(2, 3))
        raised.append((type(info.value), str(info.value).replace("torch.", "gradcore.")))
    (kind, message), (expected_kind, expected) = raised
    assert kind is expected_kind
    # The first sentence; the advice that follows is each library's own.
    start = expected.split(". ")[0]
    assert message.startswith(start[: len(start) - start.endswith(".")]), (message, expected)


def test_escaped_tensors():
    with pytest.raises(RuntimeError, match="may have escaped from inside a function being"):
        _escaping(gc)


def test_structures_that_do_not_fit():
    x = gc.zeros(2, 3)
    with pytest.raises(ValueError, match="in_dims is not compatible with the structure of `inputs`"):
        vmap(lambda a: a, in_dims=(0, 0))(x)
    with pytest.raises(ValueError, match="out_dims is not compatible with the structure of `outputs`"):
        vmap(lambda a: (a, a), out_dims=(0, 0, 0))(x)


def test_an_error_inside_leaves_nothing_behind():
    def fail(a):
        raise KeyError("x")

    x = gc.zeros(2, 3)
    with pytest.raises(KeyError):
        vmap(fail)(x)
    assert mode.levels == () and mode.below == ()
    from gradcore.autograd import tape

    assert tape._watchers == 0
    y = x + 1
    assert (y == 1).all()
