"""PyTorch's own database of operators, `op_db`: its sample inputs and error inputs, run through gradcore."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import cache, reduce
from typing import Any

import numpy as np
import pytest
from conftest import TOLERANCE, torch
from parity import Raised, outcome, short, values_of

import gradcore as gc


@cache
def database() -> dict[str, Any]:
    """The operators by name; `name.variant` where there are several variants."""
    pytest.importorskip("expecttest")
    torch.backends.cuda.enable_flash_sdp(False)  # on the CPU, too: that kernel has no second derivative
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {f"{o.name}.{o.variant_test_name}" if o.variant_test_name else o.name: o for o in op_db}


# Where the database's function takes its arguments in another order than PyTorch's, or a descriptor of its tensors.
_ADAPTED: dict[str, Callable[..., Any]] = {
    "where": lambda self, condition, other: gc.where(condition, self, other),
    "item": lambda self: self.item(),
    "normal.in_place": lambda self, *args, **kwargs: self.clone().normal_(*args, **kwargs),
    "uniform": lambda self, *args, **kwargs: self.clone().uniform_(*args, **kwargs),
    "zero_": lambda self: self.clone().zero_(),
    "nn.functional.embedding": lambda weight, index, **options: gc.nn.functional.embedding(index, weight, **options),
    "einsum": lambda tensors, equation: gc.einsum(equation, tensors),
}


def function_of(info: Any) -> Callable[..., Any]:
    """What of gradcore stands in the place of the operator's function."""
    if (adapted := _ADAPTED.get(info.name) or _ADAPTED.get(f"{info.name}.{info.variant_test_name}")) is not None:
        return adapted
    method = None
    if info.name.startswith("__"):
        method = info.name
    elif isinstance(info.op, type(torch.Tensor.item)):  # a method of PyTorch's tensors
        method = info.op.__name__
    elif hasattr(torch, info.name) and not callable(getattr(gc, info.name, None)):  # (gc.float is a dtype)
        method = info.name
    if method is not None:
        return lambda x, *args, **kwargs: getattr(x, method)(*args, **kwargs)
    if info.name.startswith(("nn.", "linalg.")) or hasattr(torch, info.name):
        found = reduce(lambda m, n: getattr(m, n, None), info.name.split("."), gc)
        return found if callable(found) else _missing(info.name)
    return info.op  # a short function of methods


def method_of(variant: Any) -> Callable[..., Any]:
    """The method of that name, or that a function is named after, for either library's tensors."""
    name = variant if isinstance(variant, str) else getattr(variant, "__name__", "<lambda>")
    return variant if name == "<lambda>" else lambda x, *args, **kwargs: getattr(x, name)(*args, **kwargs)


def inplace_of(info: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Our in-place variant and PyTorch's: a method, or the function of `nn.functional` with `inplace`."""
    if not info.name.startswith("nn.functional."):
        return method_of(info.inplace_variant), method_of(info.inplace_variant)
    function = function_of(info)
    return lambda *args, **kwargs: function(*args, inplace=True, **kwargs), info.inplace_variant


def _missing(name: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"gradcore has no {name}")

    return function


def ours(value: Any, device: str = "cpu") -> Any:
    """A value for PyTorch as one for gradcore: tensors on the CPU share their memory, strides and all.

    On another device they are copies; those that do not fill a block of memory in order are views there, too.
    """
    if isinstance(value, torch.Tensor):
        host = value.detach()
        array = host.view(torch.int16).numpy().view(gc.bfloat16.numpy) if host.dtype == torch.bfloat16 else host.numpy()
        tensor = gc.from_numpy(array)
        return (tensor if device == "cpu" else _there(tensor, device)).requires_grad_(value.requires_grad)
    if isinstance(value, torch.dtype):
        return getattr(gc, short(value))
    if isinstance(value, torch.device):
        return gc.device(device)
    if isinstance(value, torch.memory_format):
        return getattr(gc, short(value))
    if isinstance(value, torch.Size):
        return gc.Size(value)
    if isinstance(value, dict):
        return {k: ours(v, device) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)([ours(v, device) for v in value])
    return value


def _there(tensor: gc.Tensor, device: str) -> gc.Tensor:
    """A copy on another device that repeats and skips elements where the tensor does."""
    once = tensor[tuple([slice(None, 1) if step == 0 else slice(None) for step in tensor.stride()])]
    there = once.to(device)
    if there.stride() != once.stride():  # what the tensor skips is not copied
        there = gc.stack([there, there], -1)[..., 0]
    return there.expand(tensor.shape)


def _covered(value: Any) -> bool:
    """Whether all dtypes in a value are gradcore's, and nothing is asked for that only PyTorch has."""
    if isinstance(value, torch.Tensor):
        return hasattr(gc, short(value.dtype)) and value.layout == torch.strided
    if isinstance(value, torch.dtype):
        return hasattr(gc, short(value))
    if isinstance(value, (torch.memory_format, torch.layout)):
        return value in (torch.contiguous_format, torch.preserve_format, torch.strided)
    if isinstance(value, torch.Generator):
        return False
    if isinstance(value, dict):
        return all(map(_covered, value.values()))
    return all(map(_covered, value)) if isinstance(value, (tuple, list)) else not isinstance(value, complex)


def samples(info: Any, dtype: str, requires_grad: bool) -> Iterator[Any]:
    """The sample inputs that gradcore's dtypes cover."""
    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for sample in info.sample_inputs("cpu", kind, requires_grad=requires_grad):
            if _covered((sample.input, list(sample.args), dict(sample.kwargs))):
                yield sample


def distinct(given: Iterable[Any], most: int, largest: int) -> Iterator[Any]:
    """Of samples with tensors of at most `largest` elements, up to `most` that differ in layout and in options."""
    seen = set()
    for sample in given:
        value = sample.input, list(sample.args), dict(sample.kwargs)
        form = _form(value)
        if form in seen or any(t.numel() > largest for t in _tensors(value)):
            continue
        seen.add(form)
        yield sample
        if len(seen) == most:
            return


def _form(value: Any) -> Any:
    """What decides how a kernel goes through a value: of tensors the layout, of options the names."""
    if isinstance(value, torch.Tensor):
        return value.dim(), value.numel() == 0, value.is_contiguous(), value.dtype
    if isinstance(value, dict):
        return tuple([(k, _form(v)) for k, v in value.items()])
    return tuple(map(_form, value)) if isinstance(value, (tuple, list)) else type(value)


def described(value: Any) -> str:
    """A value in a few words, for the message of a failure."""
    if isinstance(value, torch.Tensor):
        return f"{short(value.dtype)}{list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(described, value))})"
    if isinstance(value, dict):
        return ", ".join(f"{k}={described(v)}" for k, v in value.items())
    return repr(value)


class Call:
    """One call of an operator in both libraries, and what it gave."""

    def __init__(self, info: Any, sample: Any, device: str = "cpu"):
        self.sample = sample
        self.text = f"{described(sample.input)}, {described(sample.args)}, {described(sample.kwargs)}"
        given = ours(sample.input, device), ours(list(sample.args), device), ours(dict(sample.kwargs), device)
        self.ours = _Side(function_of(info), *given, process=sample.output_process_fn_grad)
        self.theirs = _Side(
            info.op, sample.input, list(sample.args), dict(sample.kwargs), process=sample.output_process_fn_grad
        )

    def stays_on(self, device: str) -> bool:
        """Whether what is made of tensors on a device is there, too."""
        return not self.ours.given or all(t.device.type == device for t in _tensors(self.ours.output))


class _Side:
    """The call in one of the libraries."""

    def __init__(self, function: Any, input: Any, args: list[Any], kwargs: dict[str, Any], process: Any):
        self.given = _tensors((input, args, kwargs))
        self.inputs = [t for t in self.given if t.requires_grad]
        self.output = outcome(lambda: function(input, *args, **kwargs))
        self.process = process

    def differentiated(self) -> Any:
        """The gradients of a weighted sum of the output, and those of a weighted sum of these."""
        outputs = [t for t in _tensors(self.process(self.output)) if t.requires_grad]
        if not outputs or not self.inputs:
            return [], []
        grad = _module(outputs[0]).autograd.grad
        first = grad(_weighted(outputs), self.inputs, create_graph=True, allow_unused=True)
        found = [g for g in first if g is not None and g.requires_grad]
        if not found:
            return first, [None] * len(first)
        return first, outcome(lambda: grad(_weighted(found), self.inputs, allow_unused=True))


def _module(t: Any) -> Any:
    return gc if isinstance(t, gc.Tensor) else torch


def _weighted(tensors: list[Any]) -> Any:
    """A number that depends on every element of the tensors, differently."""
    total = 0
    for t in tensors:
        weights = np.cos(np.arange(math.prod(t.shape))).reshape(tuple(t.shape)).astype(short(t.dtype))
        total = total + (t * _module(t).from_numpy(weights).to(t.device)).sum()
    return total


def _tensors(value: Any) -> list[Any]:
    if isinstance(value, (gc.Tensor, torch.Tensor)):
        return [value]
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, (tuple, list)):
        return []
    return [t for v in value for t in _tensors(v)]


def _host(t: Any) -> np.ndarray:
    # (PyTorch has zeros without memory, which only a copy makes into an array.)
    return values_of(t if isinstance(t, gc.Tensor) else t.detach().clone())


def compare(a: Any, b: Any, factor: float, where: str, *, values: bool = True, zero: bool = False) -> None:
    """Fail unless our `a` is PyTorch's `b`, within `factor` times the tolerance of the dtype.

    With `zero`, None (no gradient) and zeros are the same.
    """
    if isinstance(b, Raised):
        assert isinstance(a, Raised), f"{where}: PyTorch raised {b!r}"
        return
    assert not isinstance(a, Raised), f"{where}: {a!r}"
    if zero and (a is None or b is None):
        for t in (a, b):
            assert t is None or not _host(t).any(), f"{where}: {a}, PyTorch {b}"
    elif isinstance(b, torch.Tensor):
        assert isinstance(a, gc.Tensor), f"{where}: {type(a)}"
        assert short(a.dtype) == short(b.dtype), f"{where}: {a.dtype}, PyTorch {b.dtype}"
        assert tuple(a.shape) == tuple(b.shape), f"{where}: {a.shape}, PyTorch {b.shape}"
        # (Whether a zero derivative is one of None, zeros, or zeros with a history is nobody's business.)
        assert zero or a.requires_grad == b.requires_grad, f"{where}: requires_grad {a.requires_grad}"
        if values:
            rtol, atol = TOLERANCE.get(a.dtype, (0, 0))
            np.testing.assert_allclose(_host(a), _host(b), factor * rtol, factor * atol, err_msg=where, equal_nan=True)
    elif isinstance(b, (tuple, list)):
        assert isinstance(a, (tuple, list)) and len(a) == len(b), f"{where}: {a!r}, PyTorch {b!r}"
        for i, (x, y) in enumerate(zip(a, b)):
            compare(x, y, factor, f"{where}[{i}]", values=values, zero=zero)
    elif isinstance(b, (torch.dtype, torch.device)):
        assert short(a) == short(b), f"{where}: {a!r}, PyTorch {b!r}"
    else:
        assert type(a) is type(b), f"{where}: {a!r}, PyTorch {b!r}"
        np.testing.assert_equal(a, b, err_msg=where)
