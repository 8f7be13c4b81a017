"""Every operator that is claimed, on the sample inputs and error inputs of PyTorch's own operator database."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from conftest import torch

import gradcore as gc

if torch is None:
    pytest.skip("PyTorch is not installed: pip install torch expecttest", allow_module_level=True)

from opinfo import (
    Call,
    _Side,
    compare,
    database,
    described,
    distinct,
    function_of,
    inplace_of,
    method_of,
    ours,
    samples,
)
from parity import Raised, outcome

# The operators that training code uses, by the names of PyTorch's database.
CLAIMED = [
    line for line in (Path(__file__).parent / "claimed_ops.txt").read_text().split("\n") if line and line[0] != "#"
]

# What is drawn at random: only shapes and dtypes can be compared.
RANDOM = {
    "bernoulli",
    "multinomial",
    "nn.functional.dropout",
    "normal.in_place",
    "randint",
    "randn",
    "randn_like",
    "uniform",
}

# Times the tolerance of the dtype, where more is computed.
LOOSE: dict[str, float] = {
    "nn.functional.ctc_loss": 10.0,  # logarithms of about -150 are rounded, and then exponentiated
    "nn.functional.layer_norm": 2.0,  # of rows of one element, where PyTorch's gradient is what rounding left of 0
    "nn.functional.conv3d": 4,  # sums of 64 large products that nearly cancel
    "nn.functional.scaled_dot_product_attention": 8,  # the exponentials of large scores
    "linalg.svd": 4,  # differences of singular values divide its gradient
}

# Operators and (part of) the description of a sample, or of an error, that differ; each with the reason.
DEVIATIONS: dict[str, dict[str, str]] = {
    "clamp_min": {"int64[3], (2)": "a number is taken, as PyTorch takes it: the database is mistaken"},
    "nn.functional.scaled_dot_product_attention": {"dropout_p=0.5": "other random numbers"},
    "nn.functional.multi_head_attention_forward": {"False, 0.5, ": "other random numbers"},
    "gather": {
        "out=float64": "out= may be of a wider dtype, as that of other functions",
        "out=int64[1]": "an out= of another size gets memory of its own, which overlaps nothing",
    },
    "cat": {"out=float32[0]": "an out= of another size gets memory of its own, which overlaps nothing"},
}


# Where PyTorch's samples tell what of the results is determined.
UP_TO_SIGN = {"linalg.svd"}

# Of several results the one that is open where elements are equal, unless a stable order is asked for.
OPEN = {"sort": 1, "argsort": 0, "topk": 1}


def deviates(name: str, text: str) -> bool:
    return any(part in text for part in DEVIATIONS.get(name, {}))


def failures(problems: list[str], count: int) -> None:
    assert not problems, f"{len(problems)} of {count} samples:\n" + "\n".join(problems[:12])


def check(name: str, dtype: str, device: str = "cpu") -> None:
    info = database()[name]
    differentiable = info.supports_autograd and dtype.startswith("float")
    problems, count = [], 0
    drawn = samples(info, dtype, differentiable)
    for sample in drawn if device == "cpu" else distinct(drawn, 8 if dtype == "float32" else 2, 16000):
        call = Call(info, sample, device)
        count += 1
        if deviates(name, call.text):
            continue
        try:
            factor = LOOSE.get(name, 1.0)
            a, b = call.ours.output, call.theirs.output
            if name in OPEN and not differentiable and not sample.kwargs.get("stable"):
                compare(a, b, factor, "value", values=False)
                a, b = (x[0] if OPEN[name] else 0 for x in (a, b))
            if name in UP_TO_SIGN:
                a, b = (sample.output_process_fn_grad(x) for x in (a, b))
            compare(a, b, factor, "value", values=name not in RANDOM)
            if differentiable and not isinstance(call.theirs.output, Raised) and name not in RANDOM:
                a, b = outcome(call.ours.differentiated), outcome(call.theirs.differentiated)
                if isinstance(a, Raised) or isinstance(b, Raised):
                    compare(a, b, factor, "gradient")
                else:
                    compare(a[0], b[0], 10 * factor, "gradient", zero=True)
                    if not isinstance(b[1], Raised):  # (of some functions PyTorch has none)
                        compare(a[1], b[1], 100 * factor, "second derivative", zero=True)
        except AssertionError as error:
            problems.append(f"  {call.text}: {' '.join(str(error).split())[:300]}")
    assert count, f"{name}: no sample is of a dtype that is covered"
    failures(problems, count)


def dtypes_of(name: str) -> list[str]:
    covered = {"float32", "float64", "int64", "bool"}
    found = [str(d).removeprefix("torch.") for d in database()[name].dtypes]
    return sorted(covered.intersection(found))


CASES = [(name, dtype) for name in CLAIMED for dtype in dtypes_of(name)]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda x: x)
def test_samples(name: str, dtype: str) -> None:
    """Values, dtypes and shapes, first and second derivatives."""
    check(name, dtype)


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda x: x)
def test_samples_on_cuda(name: str, dtype: str, _cuda_reason: str | None) -> None:
    """The same with kernels, for some samples of distinct layouts."""
    if _cuda_reason is not None:
        pytest.skip(f"no CUDA device, real or emulated: {_cuda_reason}")
    check(name, dtype, "cuda")


@pytest.mark.parametrize("name", [n for n in CLAIMED if database()[n].error_inputs_func is not None])
def test_errors(name: str) -> None:
    """The type of what is raised, and PyTorch's message."""
    info = database()[name]
    problems, count = [], 0
    for error in info.error_inputs("cpu"):
        sample = error.sample_input
        if name.startswith("__") and not isinstance(sample.input, torch.Tensor):
            continue  # a method of something else
        text = f"{described(sample.input)}, {described(sample.args)}, {described(sample.kwargs)}"
        try:
            given = ours(sample.input), ours(list(sample.args)), ours(dict(sample.kwargs))
        except (AttributeError, TypeError, ValueError):
            continue  # a dtype, a device or a number of dimensions that is not covered
        count += 1
        if deviates(name, text):
            continue
        found = _Side(function_of(info), *given, process=None).output
        if not isinstance(found, Raised):
            problems.append(f"  {text}: nothing was raised, expected {error.error_regex}")
        elif not isinstance(found.error, error.error_type):
            problems.append(f"  {text}: {found!r}, expected {error.error_type.__name__}: {error.error_regex}")
        elif not re.search(error.error_regex.replace("torch", "gradcore"), str(found.error)):
            problems.append(f"  {text}: {found!r}, expected {error.error_regex}")
    failures(problems, count)


@pytest.mark.parametrize("name", [n for n in CLAIMED if database()[n].method_variant is not None])
def test_methods(name: str) -> None:
    """Where PyTorch has a method, so have we, with the same result."""
    info = database()[name]
    dtype = "float64" if "float64" in dtypes_of(name) else dtypes_of(name)[0]
    sample = next(samples(info, dtype, False))
    method = method_of(info.name if hasattr(gc.Tensor, info.name) else info.method_variant)
    theirs = outcome(lambda: info.method_variant(sample.input, *sample.args, **sample.kwargs))
    found = outcome(lambda: method(ours(sample.input), *ours(list(sample.args)), **ours(dict(sample.kwargs))))
    compare(found, theirs, LOOSE.get(name, 1.0), "method", values=name not in RANDOM)


@pytest.mark.parametrize("name", [n for n in CLAIMED if database()[n].inplace_variant is not None])
def test_in_place(name: str) -> None:
    """Where PyTorch has an in-place variant, so have we: the tensor itself is returned, changed."""
    info = database()[name]
    method, their_method = inplace_of(info)
    problems, count = [], 0
    for dtype in dtypes_of(name):
        for sample in samples(info, dtype, False):
            if sample.broadcasts_input:
                continue
            a, b = ours(sample.input).clone(), sample.input.clone()
            args, kwargs = ours(list(sample.args)), ours(dict(sample.kwargs))
            text = f"{described(sample.input)}, {described(sample.args)}, {described(sample.kwargs)}"
            count += 1
            if deviates(name, text):
                continue
            theirs = outcome(lambda: their_method(b, *sample.args, **sample.kwargs))  # noqa: B023
            found = outcome(lambda: method(a, *args, **kwargs))  # noqa: B023
            try:
                compare(found, theirs, LOOSE.get(name, 1.0), "in place", values=name not in RANDOM)
                assert isinstance(found, Raised) or found is a, "another tensor was returned"
            except AssertionError as error:
                problems.append(f"  {text}: {' '.join(str(error).split())[:300]}")
    failures(problems, count)


@pytest.mark.parametrize("name", [n for n in CLAIMED if database()[n].supports_out])
def test_out(name: str) -> None:
    """`out=` is supported, or refused by its name."""
    info = database()[name]
    dtype = "float64" if "float64" in dtypes_of(name) else dtypes_of(name)[0]
    sample = next(samples(info, dtype, False))
    expected = info.op(sample.input, *sample.args, **sample.kwargs)
    if isinstance(expected, bool):
        pytest.skip("the result is no tensor")
    given = ours(sample.input), *ours(list(sample.args))
    out = ours(tuple(map(torch.empty_like, expected)) if isinstance(expected, (tuple, list)) else expected.clone())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = outcome(lambda: function_of(info)(*given, **ours(dict(sample.kwargs)), out=out))
    if isinstance(found, Raised):
        assert isinstance(found.error, TypeError) and "out" in str(found.error), repr(found)
    else:
        compare(found, expected, LOOSE.get(name, 1.0), "out", values=name not in RANDOM)


def test_every_claim_stands() -> None:
    assert len(CLAIMED) == len(set(CLAIMED)) == 200
    assert not set(CLAIMED) - set(database())
    assert gc is not None
