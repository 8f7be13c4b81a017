"""Selecting, sorting, joining, decompositions, padding and resampling: what PyTorch's operator database leaves out."""

# ruff: noqa: E501  one line for many cases

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from parity import agree, cases, evaluate

import gradcore as gc

CASES = cases(
    """
    m.sort(x).values; m.sort(x, 0, True).indices; m.sort(x, stable=True, dim=-1)[0]; m.msort(x); x.sort(descending=True)[1];
    m.sort(nan)[0]; m.sort(nan, descending=True)[1]; m.topk(nan, 2)[0]; nan.topk(3, largest=False)[1];
    x.topk(0)[0]; m.topk(x, 4); m.topk(i.bool(), 1)[0]; m.argsort(i, dim=0, stable=True); m.sort(i.half())[0];
    m.unique(i); m.unique(i, return_inverse=True)[1]; m.unique(i, return_counts=True, dim=0)[1]; i.unique(); m.unique(nan);
    m.nonzero(i > 1); m.nonzero(i > 1, as_tuple=True)[1]; m.argwhere(i); m.nonzero(i[0, 0]); i.nonzero();
    x.repeat(); x.repeat(2); x.repeat(2, 0); x.repeat((2, 1, 1)); x.repeat(-1, 2); m.tile(x, (2,)); x.tile((1, 2, 1));
    m.repeat_interleave(i[0]); x.repeat_interleave(2); x.repeat_interleave(i[0], 1); x.repeat_interleave(i[0], 0);
    x.repeat_interleave(-i[0], 1); m.repeat_interleave(x, 3, dim=0, output_size=5); x.repeat_interleave(-1);
    m.flip(x, [0, 1]); x.flip(-1); x.flip(0, 0); x.flip(3); m.fliplr(x); m.flipud(x); x.roll(1); x.roll((1, 2)); x.roll(1, 1);
    m.vstack((x, x[0])); m.hstack((x, x)); m.dstack((x[0], x[1])); m.column_stack((x[:, 0], x)); m.row_stack((x, x));
    m.vstack([]); m.hstack(x); m.vstack((x, 1)); m.atleast_1d(x[0, 0]); m.atleast_2d(x[0], x[0, 0])[1]; m.atleast_3d(x[0]);
    m.meshgrid(x[0], x[1], indexing="ij")[1]; m.meshgrid([x[0]], indexing="xy")[0]; m.meshgrid(x[0], indexing="a");
    m.meshgrid(x[0], i[0]); x.unbind(); x.unbind(2); x.unbind(-1)[2]; x[0, 0].unbind();
    m.diag(x[0]); m.diag(x, 1); m.diag(x[None]); x.diagonal(-1); x[None].diagonal(0, 1, 2); x.diagonal(0, 0, 0);
    m.tril(x, -1); x.triu(1); x.clone().tril_(1); x.clone().triu_(); x[0].tril();
    x.clone().unsqueeze_(1); x.clone().t_(); x[None].clone().squeeze_(); x.clone().transpose_(0, 1); x.clone().swapaxes_(0, 1);
    x.masked_fill(i > 1, 2); i.masked_fill(i > 1, 2.5); i.masked_fill(i > 1, x[0, 0]); x.masked_fill(i, 1);
    x.masked_fill(i > 1, x); x.masked_select(i > 1); x.masked_select(i); x.clone().masked_fill_(i > 1, -1);
    x.gather(1, i); x.gather(1, -i); x.gather(1, i + 3); x.gather(0, i[:1]); x.gather(1, x); x.gather(2, i); x.gather(0, i[0]);
    x.scatter(1, i, 0.5); x.scatter(1, i, x); x.scatter(1, i, x, reduce="add"); x.scatter(1, i, 2, reduce="multiply");
    x.scatter(1, i, x.double()); x.scatter(1, i, value=1); x.scatter(1, i, x[:1]); x.scatter(1, i + 5, x); x.scatter(1, i, x, reduce="a");
    x.scatter_add(1, i, x); x.scatter_add(1, i + 5, x); x.clone().scatter_add_(0, i % 2, x); x.clone().scatter_(0, i % 2, 9);
    m.scatter_reduce(x, 1, i, x, "amax"); m.scatter_reduce(x, 1, i, x, "mean", include_self=False); x.scatter_reduce(1, i, x, "a");
    i.scatter_reduce(1, i, i, "mean"); i.scatter_reduce(1, i, i * 5, "prod", include_self=False); i.scatter_reduce(1, i, i, "amin");
    x.index_select(1, i[0]); x.index_select(1, i[0].int()); x.index_select(1, i); x.index_select(1, -i[0]); x.index_select(1, x[0]);
    x.index_add(1, i[0], x); x.index_add(1, i[0], x, alpha=2); x.index_add(0, i[0], x); x.index_add(1, i[0], x.double());
    i.index_add(1, i[0], i, alpha=2.5); x.index_copy(1, m.tensor([2, 0, 1]), x); x.index_copy(1, i[0] + 9, x);
    x.index_fill(1, i[0], 7); x.index_fill(1, -i[0], x[0, 0]); x.index_fill(1, i[0], x); x.clone().index_fill_(0, i[0] % 2, 3);
    x.index_put((i[0] % 2,), x[0]); x.index_put((i[0] % 2, i[0]), x[0], accumulate=True); x.index_put((i[0] + 7,), x[0]);
    x.index_put((i[0],), 1.0); x.index_put((i[0] % 2,), i[0]); x.index_put(i > 1, x[0]); x.index_put((i > 1,), x[0, 0], True);
    x.clone().index_put_((i > 1,), x[0, 0]);
    m.einsum("ij,kj->ik", x, x); m.einsum("ij->ji", x); m.einsum("ii", x @ x.t()); m.einsum(x, [0, 1], x, [2, 1], [0, 2]);
    m.einsum("...j,j->...", x, x[0]); m.einsum("ij,jk", x, x); m.einsum("ij->ik", x); m.einsum("ij->ii", x); m.einsum("ijk", x);
    m.einsum("i1", x); m.einsum("ij,jk", x); m.einsum("ij", x, x); m.einsum("i...j...", x); m.einsum("ij->", x); m.einsum("i.j", x);
    m.linalg.inv(x); m.linalg.inv(x[:, :2].half()); m.linalg.inv(i[:, :2]); m.linalg.inv(x[0]);
    m.linalg.cholesky(x @ x.t()); m.linalg.cholesky(x @ x.t(), upper=True);
    m.linalg.svdvals(x); m.linalg.solve(x[:, :2], x); m.linalg.solve(x[:, :2], x[:, 0]);
    m.linalg.solve(x[:, :2], x.t(), left=False); m.linalg.diagonal(x); m.linalg.matmul(x, x.t());
    F.one_hot(i); F.one_hot(i, 5); F.one_hot(i, 2); F.one_hot(-i); F.one_hot(x); F.one_hot(i[:0]); F.one_hot(i[:0], 3);
    F.embedding(i, t); F.embedding(i.int(), t, padding_idx=-1); F.embedding(x, t); F.embedding(i + 9, t); F.embedding(i, t[0]);
    F.embedding(i, t, padding_idx=9); F.embedding(i[:, :2], t.clone(), max_norm=0.5, norm_type=1);
    F.pad(x, (1,)); F.pad(x, (1, 1, 1, 1, 1, 1)); F.pad(x, (-1, 2), value=5); F.pad(i, (1, 1), value=2.5); F.pad(x, (-2, -2));
    F.pad(x, (1, 2), "reflect"); F.pad(x, (3, 1), "reflect"); F.pad(x, (2, 5), "replicate");
    F.pad(x, (4, 0), "circular"); F.pad(x, (1, 1), "a"); F.pad(x[0], (1, 1), "reflect"); F.pad(x, (1, 1), "reflect", 2);
    F.pad(z, (1, 0, 2, 1), "reflect"); F.pad(z[None], (1, 0, 2, 1, 0, 1), "replicate"); F.pad(x[:, :0], (1, 1), "reflect");
    m.pixel_shuffle(z, 2); m.pixel_shuffle(z, 3); m.pixel_shuffle(x, 1); m.pixel_shuffle(z, 0); m.pixel_unshuffle(z[:, :, :2], 2);
    m.pixel_unshuffle(z, 2);
    """
)


def names(m: Any, device: str = "cpu") -> dict[str, Any]:
    def tensor(values: Any, **options: Any) -> Any:
        return m.tensor(values, device=device, **options)

    class OnDevice:
        """The module, whose `tensor` makes tensors on the device."""

        def __getattr__(self, name: str) -> Any:
            return tensor if name == "tensor" else getattr(m, name)

    generator = np.random.default_rng(0)
    return {
        "m": OnDevice(),
        "F": m.nn.functional,
        "x": tensor([[0.5, -1.0, 2.0], [1.5, 3.0, -0.25]]),
        "nan": tensor([[1.0, float("nan"), -1.0, float("inf")]]),
        "i": tensor([[0, 2, 1], [1, 1, 2]]),
        "t": tensor(generator.standard_normal((4, 3))),
        "z": tensor(generator.standard_normal((4, 3, 3))),
    }


@CASES
def test_as_in_pytorch(case: str, device: str, oracle: Any) -> None:
    """Values, dtypes and shapes, or the type of what is raised."""
    agree(lambda m, d: evaluate(case, **names(m, d)), oracle, device)


MODULES = cases(
    """
    nn.ZeroPad1d(1); nn.ZeroPad2d((1, 0, 2, 1)); nn.ConstantPad1d((1, 2), 3.5); nn.ConstantPad2d(1, -1.0);
    nn.ReflectionPad1d(1); nn.ReflectionPad2d((1, 2, 0, 1)); nn.ReplicationPad1d(2); nn.ReplicationPad2d(1);
    nn.CircularPad1d((2, 1)); nn.CircularPad2d(1); nn.PixelShuffle(2); nn.PixelUnshuffle(1); nn.Upsample(scale_factor=2);
    nn.Upsample(size=(5, 2), mode="bilinear"); nn.Upsample((4, 7), mode="bicubic", align_corners=True);
    nn.UpsamplingNearest2d(scale_factor=2); nn.UpsamplingBilinear2d(size=(4, 4))
    """
)


@MODULES
def test_modules(case: str, oracle: Any) -> None:
    values = np.random.default_rng(0).standard_normal((2, 4, 3, 3)).astype(np.float32)
    ours, theirs = evaluate(case, nn=gc.nn), evaluate(case, nn=oracle.nn)
    assert repr(ours) == repr(theirs)
    agree(lambda m, d: (ours if m is gc else theirs)(m.tensor(values[0] if "1d" in case else values)), oracle)


def test_embedding_module(oracle: Any) -> None:
    ours, theirs = (m.nn.Embedding(5, 3, padding_idx=1, scale_grad_by_freq=True) for m in (gc, oracle))
    assert repr(ours) == repr(theirs) and not ours.weight[1].detach().any() and ours.weight.requires_grad
    with oracle.no_grad():
        theirs.weight.copy_(oracle.from_numpy(ours.weight.detach().numpy()))
    for m, module in ((gc, ours), (oracle, theirs)):
        (module(m.tensor([[0, 1], [4, 4]])) ** 2).sum().backward()
    np.testing.assert_allclose(ours.weight.grad.numpy(), theirs.weight.grad.numpy(), rtol=1e-6)
    loaded = gc.nn.Embedding.from_pretrained(gc.ones(2, 3))
    assert not loaded.weight.requires_grad and gc.equal(loaded(gc.tensor([1])), gc.ones(1, 3))
    assert gc.equal(pickle.loads(pickle.dumps(ours)).weight, ours.weight)


@pytest.mark.parametrize("arguments", [{"padding_idx": 5}, {"padding_idx": -6}, {"_weight": gc.ones(2, 2)}], ids=str)
def test_embedding_module_refuses(arguments: Any) -> None:
    with pytest.raises(AssertionError):
        gc.nn.Embedding(5, 3, **arguments)
    with pytest.raises(NotImplementedError, match="sparse"):
        gc.nn.Embedding(5, 3, sparse=True)


def test_max_norm_changes_the_table_once(oracle: Any) -> None:
    weight = gc.full((3, 4), 2.0, requires_grad=True)
    version = weight._version
    gc.nn.functional.embedding(gc.tensor([2, 2, 0]), weight, max_norm=1.0)
    assert weight._version == version + 1
    norms = weight.detach().norm(dim=1)
    assert gc.allclose(norms, gc.tensor([1.0, 4.0, 1.0]))


@pytest.mark.parametrize(
    "case",
    [
        "m.linalg.inv(t(m.zeros(2, 2)))",
        "m.linalg.inv(t(m.stack([m.eye(3), m.ones(3, 3)])))",
        "m.linalg.cholesky(t(m.tensor([[1.0, 2.0], [2.0, 1.0]])))",
        "m.linalg.cholesky(t(-m.eye(2)[None]))",
        "m.linalg.svd(t(m.full((2, 2), float('nan'))))",
        "m.linalg.solve(t(m.zeros(2, 2)), t(m.ones(2)))",
    ],
)
def test_matrices_without_a_factorization(case: str, oracle: Any, device: str) -> None:
    """PyTorch's messages; the class of its errors is its own."""
    with pytest.raises(RuntimeError) as theirs:
        evaluate(case, m=oracle, t=lambda x: x)
    with pytest.raises(gc.linalg.LinAlgError) as ours:
        evaluate(case, m=gc, t=lambda x: x.to(device))
    assert str(ours.value) == str(theirs.value).removeprefix("torch.")


def test_named_results() -> None:
    found = gc.sort(gc.tensor([2.0, 1.0]))
    assert repr(found) == ("gradcore.return_types.sort(\nvalues=tensor([1., 2.]),\nindices=tensor([1, 0]))")
    values, indices = gc.topk(gc.tensor([2.0, 1.0]), 1)
    assert values.item() == 2 and indices.dtype is gc.int64
    assert gc.linalg.svd(gc.eye(2)).Vh.shape == (2, 2)


def test_bad_indices_name_the_operation(device: str) -> None:
    x = gc.ones(2, 3, device=device)
    bad = gc.tensor([[5]], device=device)
    for run in (lambda: x.gather(1, bad), lambda: x.scatter(1, bad, 1.0), lambda: x.index_select(1, bad[0])):
        with pytest.raises(IndexError, match="index 5 is out of bounds for dimension 1 with size 3"):
            run().cpu()
    assert gc.equal(x.cpu(), gc.ones(2, 3))


def test_gradients_do_not_depend_on_the_run(device: str) -> None:
    """A row that is named 5000 times: the same bits twice, and near the sum in double precision."""
    generator = np.random.default_rng(0)
    index = gc.tensor(np.where(generator.random(5000) < 0.9, 3, generator.integers(0, 7, 5000)), device=device)
    seed = gc.tensor(generator.standard_normal((5000, 3)).astype(np.float32), device=device)
    grads = []
    for _ in range(2):
        weight = gc.zeros(7, 3, device=device, requires_grad=True)
        gc.nn.functional.embedding(index, weight).backward(seed)
        grads.append(weight.grad.cpu().numpy())
    assert grads[0].tobytes() == grads[1].tobytes()
    expected = np.zeros((7, 3))
    np.add.at(expected, index.cpu().numpy(), seed.cpu().numpy().astype(np.float64))
    np.testing.assert_allclose(grads[0], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [gc.float16, gc.bfloat16])
def test_halves_are_added_up_in_float32(dtype: Any, device: str) -> None:
    x = gc.full((1,), 2048.0, dtype=dtype, device=device)
    ones = gc.ones(4096, dtype=dtype, device=device)
    index = gc.zeros(4096, dtype=gc.int64, device=device)
    assert x.index_add(0, index, ones).item() == 6144
    assert x.scatter_add(0, index, ones).item() == 6144


def test_views_that_take_the_tensors_place() -> None:
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        gc.ones(2, 3, requires_grad=True).t_()
    x = gc.arange(6.0).reshape(2, 3).requires_grad_()
    y = x * 2
    before = y[0]
    y.t_()
    assert y.shape == (3, 2) and y._version == 1 and y.grad_fn.name() == "TBackward0"
    before.add_(1)
    assert y[:, 0].tolist() == [1.0, 3.0, 5.0]
    (y * gc.arange(6.0).reshape(3, 2)).sum().backward()
    assert x.grad.tolist() == [[0.0, 4.0, 8.0], [2.0, 6.0, 10.0]]


def test_max_finds_its_place_among_more_elements_than_float32_can_number():
    n = 2**24 + 2
    x = gc.zeros(n)
    x[n - 1] = 1
    x.requires_grad_()
    x.max(dim=0).values.backward()
    assert x.grad[n - 1].item() == 1 and x.grad.sum().item() == 1
