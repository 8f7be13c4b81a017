"""Modules: the same small programs run on gradcore and, where it is installed, on PyTorch, and must say the same."""

from __future__ import annotations

import copy
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore import nn

rng = np.random.default_rng(11)


def renamed(text: str) -> str:
    """Text of PyTorch as it reads here."""
    return text.replace("torch.", "gradcore.").replace("torch Tensor", "gradcore Tensor")


def outcome(program: Callable[[Any], Any], library: Any) -> str:
    """What a program returns, or the error it raises, as text."""
    try:
        return repr(program(library))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def mlp(library: Any) -> Any:
    nn = library.nn
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8, bias=False), nn.ReLU(), nn.Linear(8, 3)).double()


def copied(ours: Any, theirs: Any) -> None:
    """Give a module of ours the state of PyTorch's."""
    state = {name: gc.tensor(value.numpy()) for name, value in theirs.state_dict().items()}
    assert repr(ours.load_state_dict(state)) == "<All keys matched successfully>"


# ---------------------------------------------------------------- Parameter
def test_parameter_prints_as_in_pytorch() -> None:
    assert repr(nn.Parameter(gc.tensor([1.0, 2.0]))) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    assert repr(nn.Parameter(gc.ones(1), requires_grad=False)) == "Parameter containing:\ntensor([1.])"
    assert repr(nn.Parameter()) == "Parameter containing:\ntensor([], requires_grad=True)"


def test_parameter_is_a_tensor_and_its_results_are_plain() -> None:
    p = nn.Parameter(gc.ones(2, 2))
    assert isinstance(p, gc.Tensor) and p.is_leaf and p.requires_grad
    for result in (p + 1, p.detach(), p.data, p[0], p.t(), p.clone(), p.sum()):
        assert type(result) is gc.Tensor


def test_parameter_shares_memory_and_version() -> None:
    data = gc.zeros(3)
    p = nn.Parameter(data)
    data[0] = 5
    assert p.tolist() == [5, 0, 0]
    assert p._version == data._version == 1
    with gc.no_grad():
        assert nn.Parameter(gc.ones(1)).requires_grad


def test_parameter_refuses() -> None:
    with pytest.raises(RuntimeError, match="floating point"):
        nn.Parameter(gc.tensor([1, 2]))
    assert nn.Parameter(gc.tensor([1, 2]), requires_grad=False).dtype is gc.int64
    with pytest.raises(TypeError, match="argument 'data' must be Tensor, not list"):
        nn.Parameter([1.0])  # type: ignore[arg-type]


def test_parameter_copies_and_pickles() -> None:
    p = nn.Parameter(gc.ones(2))
    p.sum().backward()
    pair = copy.deepcopy([p, p])
    assert pair[0] is pair[1] and type(pair[0]) is nn.Parameter
    assert pair[0].grad is None and pair[0].requires_grad and gc.equal(pair[0], p)
    with gc.no_grad():
        pair[0][0] = 7
    assert p.tolist() == [1, 1]
    back = pickle.loads(pickle.dumps(p))
    assert type(back) is nn.Parameter and back.requires_grad and gc.equal(back, p)


# ---------------------------------------------------------------- text
def residual(library: Any) -> Any:
    nn = library.nn

    class Residual(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(OrderedDict(a=nn.Linear(2, 2), b=nn.ReLU(inplace=True)))
            self.nothing = None
            self.register_module("later", None)
            self.drop = nn.Dropout(0.1, inplace=True)

        def extra_repr(self) -> str:
            return "first line\nsecond line"

    return Residual()


REPRS: dict[str, Callable[[Any], Any]] = {
    "mlp": mlp,
    "residual": residual,
    "empty": lambda t: (t.nn.Sequential(), t.nn.ModuleList(), t.nn.ModuleDict(), t.nn.Identity(3, a=2), t.nn.Module()),
    "list": lambda t: t.nn.ModuleList([t.nn.ReLU()] + [t.nn.Linear(2, 2) for _ in range(3)] + [mlp(t), mlp(t)]),
    "dict": lambda t: t.nn.ModuleDict({"one": t.nn.Flatten(), "two": mlp(t)}),
    "parameters": lambda t: t.nn.ParameterList([t.nn.Parameter(t.ones(2, 3)), t.zeros(1), t.tensor(1.0), "text"]),
    "layers": lambda t: [
        t.nn.Softmax(dim=1),
        t.nn.LogSoftmax(),
        t.nn.Sigmoid(),
        t.nn.Flatten(0, -2),
        t.nn.Linear(1, 2, bias=False),
        t.nn.CrossEntropyLoss(weight=t.ones(2)),
    ],
}


@pytest.mark.parametrize("name", REPRS)
def test_repr(oracle: Any, name: str) -> None:
    assert repr(REPRS[name](gc)) == renamed(repr(REPRS[name](oracle)))


# ---------------------------------------------------------------- attributes
def module(t: Any) -> Any:
    m = t.nn.Module()
    m.w = t.nn.Parameter(t.ones(2))
    m.child = t.nn.Linear(1, 1)
    m.register_buffer("b", t.zeros(3))
    m.register_buffer("hidden", t.zeros(1), persistent=False)
    m.plain = 1
    return m


def uninitialised(t: Any, value: Any) -> Any:
    class Bad(t.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.x = value(t)

    return Bad()


def names(m: Any) -> list[Any]:
    return [list(m._parameters), list(m._buffers), list(m._modules), sorted(m.state_dict()), hasattr(m, "plain")]


def changed(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A program that makes a module, changes it and lists what it holds."""

    def program(t: Any) -> Any:
        m = module(t)
        change(t, m)
        return names(m)

    return program


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "fresh": lambda t: names(module(t)),
    # assignment
    "parameter to None": changed(lambda t, m: setattr(m, "w", None)),
    "parameter to tensor": changed(lambda t, m: setattr(m, "w", t.ones(2))),
    "parameter to module": changed(lambda t, m: setattr(m, "w", t.nn.ReLU())),
    "parameter to int": changed(lambda t, m: setattr(m, "w", 3)),
    "module to None": changed(lambda t, m: setattr(m, "child", None)),
    "module to tensor": changed(lambda t, m: setattr(m, "child", t.ones(1))),
    "module to parameter": changed(lambda t, m: setattr(m, "child", t.nn.Parameter(t.ones(1)))),
    "module to str": changed(lambda t, m: setattr(m, "child", "text")),
    "module to class": changed(lambda t, m: setattr(m, "child", t.nn.Linear)),
    "buffer to tensor": changed(lambda t, m: setattr(m, "b", t.ones(5))),
    "buffer to None": changed(lambda t, m: setattr(m, "b", None)),
    "buffer to int": changed(lambda t, m: setattr(m, "b", 3)),
    "buffer to parameter": changed(lambda t, m: setattr(m, "b", t.nn.Parameter(t.ones(1)))),
    "hidden buffer to parameter": changed(lambda t, m: setattr(m, "hidden", t.nn.Parameter(t.ones(1)))),
    "buffer to module": changed(lambda t, m: setattr(m, "b", t.nn.ReLU())),
    "plain to parameter": changed(lambda t, m: setattr(m, "plain", t.nn.Parameter(t.ones(1)))),
    "plain to module": changed(lambda t, m: setattr(m, "plain", t.nn.ReLU())),
    "new buffer": changed(lambda t, m: setattr(m, "new", t.nn.Buffer(t.ones(1)))),
    "new hidden buffer": changed(lambda t, m: setattr(m, "new", t.nn.Buffer(t.ones(1), persistent=False))),
    "buffer over parameter": changed(lambda t, m: setattr(m, "w", t.nn.Buffer(t.ones(1)))),
    "name of a method": changed(lambda t, m: setattr(m, "train", t.nn.Parameter(t.ones(1)))),
    "non-leaf": changed(lambda t, m: m.register_parameter("n", t.nn.Parameter(t.ones(1)) * 2)),
    # deletion
    "delete parameter": changed(lambda t, m: delattr(m, "w")),
    "delete buffer": changed(lambda t, m: delattr(m, "hidden")),
    "delete module": changed(lambda t, m: delattr(m, "child")),
    "delete plain": changed(lambda t, m: delattr(m, "plain")),
    "delete nothing": changed(lambda t, m: delattr(m, "nothing")),
    # registration
    "register twice": changed(lambda t, m: m.register_parameter("w", t.nn.Parameter(t.ones(3)))),
    "register over plain": changed(lambda t, m: m.register_parameter("plain", t.nn.Parameter(t.ones(3)))),
    "register tensor": changed(lambda t, m: m.register_parameter("p", t.ones(3))),
    "register dotted": changed(lambda t, m: m.register_parameter("a.b", None)),
    "register nameless": changed(lambda t, m: m.register_parameter("", None)),
    "register number": changed(lambda t, m: m.register_parameter(3, None)),
    "buffer over plain": changed(lambda t, m: m.register_buffer("plain", t.ones(1))),
    "buffer of list": changed(lambda t, m: m.register_buffer("c", [1])),
    "buffer dotted": changed(lambda t, m: m.register_buffer("a.b", None)),
    "buffer nameless": changed(lambda t, m: m.register_buffer("", None)),
    "module over plain": changed(lambda t, m: m.add_module("plain", t.nn.ReLU())),
    "module of int": changed(lambda t, m: m.add_module("x", 1)),
    "module of class": changed(lambda t, m: m.add_module("x", t.nn.ReLU)),
    "module dotted": changed(lambda t, m: m.add_module("a.b", t.nn.ReLU())),
    "module nameless": changed(lambda t, m: m.add_module("", t.nn.ReLU())),
    "module number": changed(lambda t, m: m.add_module(1, t.nn.ReLU())),
    # before __init__
    "parameter early": lambda t: uninitialised(t, lambda t: t.nn.Parameter(t.ones(1))),
    "module early": lambda t: uninitialised(t, lambda t: t.nn.ReLU()),
    "buffer early": lambda t: uninitialised(t, lambda t: t.nn.Buffer(t.ones(1))),
    "plain early": lambda t: uninitialised(t, lambda t: 5).x,
    # look-up
    "missing attribute": lambda t: module(t).missing,
    "get_parameter": lambda t: module(t).get_parameter("child.weight").shape,
    "get_parameter of module": lambda t: module(t).get_parameter("child"),
    "get_parameter missing": lambda t: module(t).get_parameter("child.nothing"),
    "get_submodule": lambda t: mlp(t).get_submodule("0"),
    "get_submodule self": lambda t: module(t).get_submodule("") is not None,
    "get_submodule missing": lambda t: module(t).get_submodule("child.x"),
    "get_submodule of parameter": lambda t: module(t).get_submodule("w"),
    "get_buffer": lambda t: module(t).get_buffer("b"),
    "get_buffer of parameter": lambda t: module(t).get_buffer("w"),
    "named_parameters": lambda t: [n for n, _ in mlp(t).named_parameters(prefix="p")],
    "named_buffers": lambda t: [n for n, _ in module(t).named_buffers()],
    "named_modules": lambda t: [(n, type(m).__name__) for n, m in residual(t).named_modules(prefix="p")],
    "named_children": lambda t: [n for n, _ in residual(t).named_children()],
    "own parameters": lambda t: len(list(module(t).parameters(recurse=False))),
    "no forward": lambda t: module(t)(1),
    "train": lambda t: module(t).train("yes"),
    "to int": lambda t: module(t).to(t.int64),
    # containers
    "sequential index": lambda t: (mlp(t)[1], mlp(t)[-1], mlp(t)[1:3]),
    "sequential out of range": lambda t: mlp(t)[7],
    "sequential of function": lambda t: t.nn.Sequential(lambda x: x),
    "sequential of dict": lambda t: t.nn.Sequential({"a": t.nn.ReLU()}),
    "sequential set": lambda t: sequence_edits(t),
    "sequential sum": lambda t: (mlp(t) + t.nn.Sequential(t.nn.ReLU()), t.nn.Sequential(t.nn.ReLU()) * 2),
    "sequential sum wrong": lambda t: mlp(t) + [t.nn.ReLU()],
    "sequential times 0": lambda t: t.nn.Sequential(t.nn.ReLU()) * 0,
    "sequential insert wrong": lambda t: mlp(t).insert(9, t.nn.ReLU()),
    "list edits": lambda t: list_edits(t),
    "list wrong": lambda t: t.nn.ModuleList().extend(3),
    "list of ints": lambda t: t.nn.ModuleList([1]),
    "list call": lambda t: t.nn.ModuleList()(1),
    "dict edits": lambda t: dict_edits(t),
    "dict wrong": lambda t: t.nn.ModuleDict(3),
    "dict triple": lambda t: t.nn.ModuleDict([("a", t.nn.ReLU(), 1)]),
    "dict name of method": lambda t: t.nn.ModuleDict({"keys": t.nn.ReLU()}),
    "dict missing": lambda t: t.nn.ModuleDict()["a"],
    "parameter list": lambda t: parameter_list(t),
    "parameter list of tensor": lambda t: t.nn.ParameterList(t.ones(3)),
    "parameter list call": lambda t: t.nn.ParameterList()(),
    "parameter list out of range": lambda t: t.nn.ParameterList()[0],
    "dropout": lambda t: t.nn.Dropout(2),
    # initial values
    "gains": lambda t: [
        t.nn.init.calculate_gain(n, p)
        for n, p in [("linear", None), ("tanh", None), ("relu", None), ("leaky_relu", 0.3), ("selu", None)]
    ],
    "gain unknown": lambda t: t.nn.init.calculate_gain("step"),
    "gain slope": lambda t: t.nn.init.calculate_gain("leaky_relu", True),
    "fan of vector": lambda t: t.nn.init.xavier_normal_(t.ones(3)),
    "kaiming mode": lambda t: t.nn.init.kaiming_normal_(t.ones(3, 3), mode="fan"),
    "eye": lambda t: t.nn.init.eye_(t.nn.Parameter(t.ones(2, 3))),
    "eye of vector": lambda t: t.nn.init.eye_(t.ones(3)),
    "ones and zeros": lambda t: [t.nn.init.ones_(t.zeros(2)), t.nn.init.zeros_(t.ones(2))],
    "constant": lambda t: t.nn.init.constant_(t.ones(1), 3),
}


def sequence_edits(t: Any) -> Any:
    m = mlp(t)
    m[1] = t.nn.ReLU()
    del m[0]
    m.append(t.nn.Tanh())
    m.insert(1, t.nn.Sigmoid())
    m.insert(-1, t.nn.Identity())
    taken = m.pop(2)
    m.extend([t.nn.Dropout()])
    m *= 2
    del m[-3:]
    return m, taken, len(m), [type(x).__name__ for x in m]


def list_edits(t: Any) -> Any:
    m = t.nn.ModuleList([t.nn.ReLU(), t.nn.Tanh()])
    m += [t.nn.Linear(2, 2)]
    m.insert(0, t.nn.Sigmoid())
    m[1] = t.nn.Identity()
    del m[-1]
    both = m + [t.nn.Dropout()]
    del both[1:3]
    return m, both, m[0:2], m.pop(0), len(m), list(both._modules)


def dict_edits(t: Any) -> Any:
    m = t.nn.ModuleDict([("a", t.nn.ReLU()), ("b", t.nn.Tanh())])
    m["c"] = t.nn.Linear(1, 1)
    m.update({"a": t.nn.Sigmoid()})
    del m["b"]
    taken = m.pop("c")
    state = (len(m), list(m), list(m.keys()), list(m.items()), list(m.values()), "a" in m)
    m.clear()
    return state, taken, len(m)


def parameter_list(t: Any) -> Any:
    m = t.nn.ParameterList([t.ones(1)])
    m.append(t.nn.Parameter(t.ones(2)))
    m += [t.ones(3)]
    m[0] = t.zeros(4)
    return m, m[-1], m[1:], len(m), [n for n, _ in m.named_parameters()], [tuple(p.shape) for p in m]


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_outcome_as_pytorch(oracle: Any, name: str) -> None:
    assert outcome(PROGRAMS[name], gc) == renamed(outcome(PROGRAMS[name], oracle))


def test_failed_assignments_change_nothing() -> None:
    m = module(gc)
    before = [list(m._parameters), list(m._buffers), list(m._modules), sorted(vars(m))]
    for name, value in (("w", 3), ("child", "text"), ("b", 3), ("train", nn.Parameter(gc.ones(1)))):
        with pytest.raises((TypeError, KeyError)):
            setattr(m, name, value)
    assert before == [list(m._parameters), list(m._buffers), list(m._modules), sorted(vars(m))]


def test_dir_lists_what_can_be_written() -> None:
    listed = dir(nn.Sequential(nn.Linear(1, 1)))
    assert "0" not in listed and "forward" in listed
    assert {"weight", "bias"} <= set(dir(nn.Linear(1, 1)))


# ---------------------------------------------------------------- walking
def test_shared_parameters_and_modules_count_once() -> None:
    shared = nn.Linear(2, 2)
    m = nn.Sequential(shared, nn.ReLU(), shared)
    m.extra = nn.Parameter(gc.ones(1))
    m.again = m.extra
    assert [n for n, _ in m.named_parameters()] == ["extra", "0.weight", "0.bias"]
    assert len(list(m.named_parameters(remove_duplicate=False))) == 6
    assert len(list(m.modules())) == 3 and len(list(m.children())) == 2
    assert list(m.state_dict()) == ["extra", "again", "0.weight", "0.bias", "2.weight", "2.bias"]


def test_apply_visits_children_first() -> None:
    seen: list[str] = []
    m = mlp(gc)
    assert m.apply(lambda x: seen.append(type(x).__name__)) is m
    assert seen == ["Linear", "Tanh", "Linear", "ReLU", "Linear", "Sequential"]


def test_modes() -> None:
    m = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    assert all(x.training for x in m.modules())
    assert m.eval() is m and not any(x.training for x in m.modules())
    m.train()
    assert all(x.training for x in m.modules())


def test_requires_grad_and_zero_grad() -> None:
    m = nn.Linear(2, 1)
    m(gc.ones(1, 2)).sum().backward()
    gradient = m.weight.grad
    m.zero_grad(set_to_none=False)
    assert m.weight.grad is gradient and gradient.tolist() == [[0, 0]]
    m.zero_grad()
    assert m.weight.grad is None and m.bias.grad is None
    assert m.requires_grad_(False) is m and not any(p.requires_grad for p in m.parameters())


def test_zero_grad_cuts_the_gradient_from_its_graph() -> None:
    m = nn.Linear(2, 1)
    loss = (m(gc.ones(1, 2)) ** 2).sum()
    (m.weight.grad,) = gc.autograd.grad(loss, [m.weight], create_graph=True)
    assert m.weight.grad.requires_grad
    m.zero_grad(set_to_none=False)
    assert not m.weight.grad.requires_grad and m.weight.grad.tolist() == [[0, 0]]


# ---------------------------------------------------------------- moving
def test_conversion_keeps_the_parameter_objects(device: str) -> None:
    m = nn.Linear(2, 2)
    m.register_buffer("count", gc.tensor(3))
    m.register_buffer("mean", gc.ones(2))
    m(gc.ones(1, 2)).sum().backward()
    before = list(m.parameters())
    values = m.weight.tolist()
    assert m.to(device, gc.float64) is m
    assert all(a is b for a, b in zip(m.parameters(), before, strict=True))
    assert m.weight.dtype is m.weight.grad.dtype is m.mean.dtype is gc.float64 and m.count.dtype is gc.int64
    assert m.weight.device.type == m.weight.grad.device.type == m.count.device.type == device
    assert m.weight.tolist() == values and m.weight.is_leaf and m.weight.requires_grad
    m(gc.ones(1, 2, device=device, dtype=gc.float64)).sum().backward()
    assert m.bias.grad.tolist() == [2, 2]
    assert m.cpu().half().weight.dtype is gc.float16 and m.weight.device.type == "cpu"
    assert m.float().weight.dtype is gc.float32 and m.bfloat16().weight.dtype is gc.bfloat16
    assert m.to(gc.zeros(1)).weight.dtype is gc.float32


def test_linear_is_made_where_asked(device: str) -> None:
    m = nn.Linear(3, 2, device=device, dtype=gc.float64)
    assert m.weight.device.type == m.bias.device.type == device and m.weight.dtype is gc.float64
    assert m(gc.ones(4, 3, device=device, dtype=gc.float64)).shape == (4, 2)


# ---------------------------------------------------------------- state
def test_state_travels_both_ways(oracle: Any) -> None:
    theirs, ours = mlp(oracle), mlp(gc)
    copied(ours, theirs)
    x = rng.standard_normal((5, 4))
    a, b = ours(gc.tensor(x)), theirs(oracle.tensor(x))
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12)
    a.square().sum().backward()
    b.square().sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-11, atol=1e-13)
    fresh = mlp(gc)
    theirs.load_state_dict({n: oracle.tensor(v.numpy()) for n, v in fresh.state_dict().items()})
    y = theirs(oracle.tensor(x)).detach().numpy()
    np.testing.assert_allclose(fresh(gc.tensor(x)).detach().numpy(), y, rtol=1e-12)


def test_state_dict_shares_memory() -> None:
    m = nn.Linear(2, 1)
    state = m.state_dict(prefix="p.")
    assert list(state) == ["p.weight", "p.bias"] and not state["p.weight"].requires_grad
    state["p.weight"].zero_()
    assert m.weight.tolist() == [[0, 0]]
    assert m.state_dict(keep_vars=True)["weight"] is m.weight


def test_loading_converts() -> None:
    m = nn.Linear(2, 1)
    weight = m.weight
    m.load_state_dict({"weight": gc.tensor([[1, 2]]), "bias": gc.tensor([3.0], dtype=gc.float64)})
    assert m.weight is weight and weight.dtype is gc.float32 and weight.tolist() == [[1, 2]] and m.bias.tolist() == [3]


def test_loading_by_assignment() -> None:
    m = nn.Linear(2, 1)
    m.weight.requires_grad_(False)
    state = {"weight": gc.ones(1, 2, dtype=gc.float64), "bias": nn.Parameter(gc.ones(1))}
    m.load_state_dict(state, assign=True)
    assert m.weight.dtype is gc.float64 and not m.weight.requires_grad and m.bias.requires_grad
    assert isinstance(m.weight, nn.Parameter) and m.weight.data_ptr() == state["weight"].data_ptr()


BAD_STATES: dict[str, Callable[[Any], Any]] = {
    "missing": lambda t: {"0.weight": t.ones(8, 4)},
    "unexpected": lambda t: {**mlp(t).state_dict(), "z": t.ones(1), "0.z": t.ones(1), "9.weight": t.ones(1)},
    "sizes": lambda t: {**mlp(t).state_dict(), "2.weight": t.ones(2), "0.bias": t.ones(8, 1)},
    "all": lambda t: {"0.weight": t.ones(1), "y": t.ones(1)},
    "no mapping": lambda t: [1, 2],
}


@pytest.mark.parametrize("name", BAD_STATES)
def test_loading_errors(oracle: Any, name: str) -> None:
    def program(t: Any) -> Any:
        return mlp(t).load_state_dict(BAD_STATES[name](t))

    assert outcome(program, gc) == renamed(outcome(program, oracle))

    def lenient(t: Any) -> Any:
        return mlp(t).load_state_dict(BAD_STATES[name](t), strict=False)

    assert outcome(lenient, gc) == renamed(outcome(lenient, oracle))


def test_nothing_is_half_loaded() -> None:
    m = mlp(gc)
    before = {n: v.clone() for n, v in m.state_dict().items()}
    state = {n: gc.zeros_like(v) for n, v in before.items()}
    for bad in ({**state, "4.bias": gc.ones(9)}, {**state, "more": gc.ones(1)}, {**state, "4.bias": [1.0, 2.0, 3.0]}):
        with pytest.raises(RuntimeError, match=re.escape("Error(s) in loading state_dict for Sequential:\n\t")):
            m.load_state_dict(bad)
        assert all(gc.equal(v, before[n]) for n, v in m.state_dict().items())


def test_modules_copy_and_pickle() -> None:
    m = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    m.register_buffer("b", gc.ones(1), persistent=False)
    x = gc.ones(1, 2)
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m))):
        assert repr(other) == repr(m) and gc.equal(other(x), m(x)) and list(other.state_dict()) == list(m.state_dict())
        other[0].weight.data.zero_()
        assert not gc.equal(other[0].weight, m[0].weight)


# ---------------------------------------------------------------- hooks
def test_forward_hooks() -> None:
    m = nn.Identity()
    calls: list[Any] = []
    handles = [
        m.register_forward_pre_hook(lambda module, args: calls.append(("pre", args)) or (args[0] + 1,)),
        m.register_forward_pre_hook(lambda module, args: calls.append(("first", args)), prepend=True),
        m.register_forward_hook(lambda module, args, out: calls.append(("post", args, out)) or out * 10),
    ]
    assert m(1) == 20
    assert calls == [("first", (1,)), ("pre", (1,)), ("post", (2,), 2)]
    for handle in handles:
        handle.remove()
    assert m(1) == 1


def test_hooks_with_keyword_arguments() -> None:
    class Scale(nn.Module):
        def forward(self, x: int, by: int = 1) -> int:
            return x * by

    m = Scale()
    with m.register_forward_pre_hook(lambda module, args, kwargs: (args, {"by": 5}), with_kwargs=True):
        with m.register_forward_hook(lambda module, args, kwargs, out: (out, kwargs["by"]), with_kwargs=True):
            assert m(2, by=3) == (10, 5)
    with m.register_forward_pre_hook(lambda module, args, kwargs: 3, with_kwargs=True):
        with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
            m(2)
    assert m(2, by=3) == 6


def test_hooks_always_called() -> None:
    m = nn.Linear(2, 2)
    calls: list[str] = []
    m.register_forward_hook(lambda *args: calls.append("no"))
    m.register_forward_hook(lambda *args: calls.append("yes"), always_call=True)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        m(gc.ones(1, 3))
    assert calls == ["yes"]


# ---------------------------------------------------------------- initial values
@pytest.mark.parametrize(
    ("name", "kwargs", "std"),
    [
        ("xavier_uniform_", {}, math.sqrt(2 / 500)),
        ("xavier_normal_", {"gain": 2.0}, 2 * math.sqrt(2 / 500)),
        ("kaiming_uniform_", {}, math.sqrt(2 / 200)),
        ("kaiming_uniform_", {"a": math.sqrt(5), "mode": "fan_out"}, math.sqrt(1 / 3 / 300)),
        ("kaiming_normal_", {"mode": "fan_out", "nonlinearity": "relu"}, math.sqrt(2 / 300)),
        ("uniform_", {"a": -1.0, "b": 3.0}, 4 / math.sqrt(12)),
        ("normal_", {"mean": 1.0, "std": 0.5}, 0.5),
        ("trunc_normal_", {"std": 10.0, "a": -1.0, "b": 1.0}, 2 / math.sqrt(12)),
    ],
)
def test_random_initial_values(name: str, kwargs: dict[str, Any], std: float) -> None:
    p = nn.Parameter(gc.empty(300, 200))
    assert getattr(nn.init, name)(p, **kwargs) is p and p.requires_grad and p.is_leaf
    values = p.detach().numpy()
    # Five standard deviations of the sample's own, for 60000 numbers of kurtosis at most 3.
    assert abs(values.std() / std - 1) < 5 / math.sqrt(2 * values.size)
    mean = kwargs.get("mean", 1.0 if name == "uniform_" else 0.0)
    assert abs(values.mean() - mean) < 5 * std / math.sqrt(values.size)
    if "uniform" in name:
        assert np.abs(values - mean).max() <= std * math.sqrt(3) * (1 + 1e-6)


def test_linear_starts_within_its_bounds() -> None:
    m = nn.Linear(100, 400)
    for p in m.parameters():
        assert 0.09 < p.abs().max().item() <= 0.1 + 1e-7


def test_empty_weights_warn() -> None:
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        m = nn.Linear(0, 2)
    assert m.bias.tolist() == [0, 0]


def test_seed_fixes_initial_values() -> None:
    gc.manual_seed(5)
    first = mlp(gc).state_dict()
    gc.manual_seed(5)
    assert all(gc.equal(v, first[n]) for n, v in mlp(gc).state_dict().items())


# ---------------------------------------------------------------- utilities
def with_gradients(t: Any, device: str = "cpu") -> list[Any]:
    values = np.random.default_rng(1)
    made = [t.nn.Parameter(t.tensor(values.standard_normal(s), device=device)) for s in ((3, 2), (4,), ())]
    made.append(t.nn.Parameter(t.zeros(2)))
    for p in made[:3]:
        p.grad = t.tensor(np.asarray(values.standard_normal(tuple(p.shape)) * 3), device=device)
    return made


@pytest.mark.parametrize("norm_type", [2, 1, 3.5, math.inf, 0.5, -1, -math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1e6])
def test_clip_grad_norm(oracle: Any, device: str, norm_type: float, max_norm: float) -> None:
    results = []
    for t in (gc, oracle):
        params = with_gradients(t, device if t is gc else "cpu")
        total = t.nn.utils.clip_grad_norm_(iter(params), max_norm, norm_type)
        results.append([total.item()] + [p.grad.tolist() for p in params[:3]])
        assert params[3].grad is None
    ours, theirs = (np.concatenate([np.ravel(r) for r in result]) for result in results)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_total_norm_of_many_sizes(oracle: Any, device: str, dtype: str) -> None:
    values = np.random.default_rng(1)
    arrays = [np.asarray(values.standard_normal(s)) for s in ((0,), (3, 5), (9001,), (), (70, 7))]
    ours = [gc.tensor(a, device=device).to(getattr(gc, dtype)) for a in arrays]
    ours[-1] = ours[-1].t()
    theirs = [oracle.tensor(a).to(getattr(oracle, dtype)) for a in arrays]
    found, expected = gc.nn.utils.get_total_norm(ours), oracle.nn.utils.get_total_norm(theirs)
    assert found.device.type == device and str(found.dtype) == str(expected.dtype).replace("torch", "gradcore")
    rtol = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-6}[dtype]
    assert found.item() == pytest.approx(expected.double().item(), rel=rtol)
    # NaN goes through, and is seen where that is asked for.
    ours[1][0, 0] = math.nan
    assert math.isnan(gc.nn.utils.get_total_norm(ours).item())
    assert math.isnan(gc.nn.utils.get_total_norm(ours, math.inf).item())


def test_clipping_refuses_non_finite_gradients() -> None:
    params = with_gradients(gc)
    params[0].grad[0, 0] = math.nan
    before = params[1].grad.tolist()
    with pytest.raises(RuntimeError, match="The total norm of order 2.0 for gradients from `parameters` is non-finite"):
        nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    assert params[1].grad.tolist() == before


def test_clip_without_gradients() -> None:
    assert nn.utils.clip_grad_norm_([nn.Parameter(gc.ones(1))], 1.0).item() == 0
    with pytest.warns(UserWarning, match="empty generator"):
        nn.utils.clip_grad_norm_((p for p in ()), 1.0)


def test_clip_grad_value(oracle: Any) -> None:
    ours, theirs = with_gradients(gc), with_gradients(oracle)
    gc.nn.utils.clip_grad_value_(ours, 0.7)
    oracle.nn.utils.clip_grad_value_(theirs, 0.7)
    assert [p.grad.tolist() for p in ours[:3]] == [p.grad.tolist() for p in theirs[:3]]


def test_parameters_as_a_vector() -> None:
    m = nn.Linear(3, 2)
    vector = nn.utils.parameters_to_vector(m.parameters())
    assert vector.shape == (8,) and vector.requires_grad
    nn.utils.vector_to_parameters(gc.arange(8.0), m.parameters())
    assert m.weight.tolist() == [[0, 1, 2], [3, 4, 5]] and m.bias.tolist() == [6, 7] and m.weight.is_leaf
    with pytest.raises(RuntimeError, match="8 elements"):
        nn.utils.vector_to_parameters(gc.ones(7), m.parameters())
    with pytest.raises(TypeError, match=r"expected gradcore.Tensor, but got: list"):
        nn.utils.vector_to_parameters([1.0], m.parameters())  # type: ignore[arg-type]
