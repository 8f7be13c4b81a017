"""Printing is PyTorch's, character for character."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gradcore import dtypes
from gradcore.tensor.printing import get_printoptions, printoptions, repr_of, set_printoptions, tensor_str

NUMPY_DTYPES = [d.numpy for d in dtypes.ALL]


@pytest.fixture
def torch():
    """PyTorch, and gradcore's dtypes under its prefix: the length of a name decides where lines break."""
    module = pytest.importorskip("torch", reason="PyTorch is the reference for printed text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dtypes.dtype, "__repr__", lambda self: f"torch.{self.name}")
        yield module


def to_torch(array: np.ndarray):
    import torch

    if array.dtype == ml_dtypes.bfloat16:
        return torch.tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.tensor(array)


def torch_repr(array: np.ndarray, requires_grad: bool = False) -> str:
    return repr(to_torch(array).requires_grad_(requires_grad))


FIXED = {
    "scalar": 3.0,
    "negative zero": [-0.0, 1.5],
    "whole": [1.0, -20.0, 300.0],
    "whole with nan and inf": [1.0, np.nan, -np.inf, np.inf],
    "only nan": [np.nan, np.nan],
    "only zero": [0.0, -0.0],
    "fractions": [0.1, 22.25, -3.0],
    "fractions with inf": [0.5, -np.inf],
    "wide range": [1e-3, 5.0],
    "exactly three decades": [1.0, 1000.0],
    "small": [1e-5, 2e-5],
    "just not small": [1e-4, 2e-4],
    "large": [2e8, 3e8],
    "large whole": [1.0, 1e8],
    "matrix": np.arange(6.0).reshape(2, 3) / 7,
    "stack": np.arange(24.0).reshape(2, 3, 4),
    "four dimensions": np.arange(16.0).reshape(2, 2, 2, 2),
    "long vector": np.linspace(-1, 1, 77),
    "summarised vector": np.arange(1001.0),
    "at the threshold": np.arange(1000.0),
    "summarised matrix": np.arange(3000.0).reshape(50, 60) / 3,
    "summarised one way": np.arange(2002.0).reshape(2, 1001),
    "summarised stack": np.arange(8 * 9 * 20.0).reshape(8, 9, 20),
    "large only in the middle": np.where(np.arange(2000) == 1000, 1e12, np.arange(2000) / 4),
    "empty": np.zeros(0),
    "empty matrix": np.zeros((0, 3)),
    "empty stack": np.zeros((2, 0, 3)),
}


@pytest.mark.parametrize("dtype", NUMPY_DTYPES, ids=str)
@pytest.mark.parametrize("name", FIXED)
def test_fixed_cases(torch, name, dtype):
    with np.errstate(invalid="ignore", over="ignore"):
        array = np.asarray(FIXED[name]).astype(dtype)
    assert repr_of(array) == torch_repr(array)


def arrays(dtype: np.dtype) -> st.SearchStrategy[np.ndarray]:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
    if dtype.kind in "biu":
        return hnp.arrays(dtype, shapes)
    ordinary = st.floats(-2000, 2000, width=16)
    round_numbers = st.integers(-3000, 3000).map(float)
    anything = st.floats(width=32)
    elements = st.sampled_from([ordinary, round_numbers, anything]).flatmap(
        lambda values: hnp.arrays(np.float32, shapes, elements=values, fill=st.nothing())
    )

    def convert(array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return array.astype(dtype)

    return elements.map(convert)


# The fixture only fetches a module and renames dtypes: nothing to reset between examples.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=st.sampled_from(NUMPY_DTYPES).flatmap(arrays),
    requires_grad=st.booleans(),
    options=st.fixed_dictionaries(
        {},
        optional={
            "precision": st.integers(0, 8),
            "threshold": st.sampled_from([0, 5, 40, 1000]),
            "edgeitems": st.integers(0, 4),
            "linewidth": st.integers(20, 120),
            "sci_mode": st.sampled_from([None, True, False]),
            "profile": st.sampled_from([None, "default", "short", "full"]),
        },
    ),
)
def test_any_array_and_options(torch, array, requires_grad, options):
    requires_grad = requires_grad and array.dtype.kind not in "biu"
    with torch._tensor_str.printoptions(**options), printoptions(**options):
        assert repr_of(array, requires_grad=requires_grad) == torch_repr(array, requires_grad)
        assert tensor_str(array, 7) == torch._tensor_str._tensor_str(to_torch(array), 7)


def test_names_of_grad_fn_and_device(torch):
    x = torch.linspace(0, 1, 7, requires_grad=True)
    y = x + 1
    array = y.detach().numpy()
    assert repr_of(array, grad_fn_name="AddBackward0", requires_grad=True) == repr(y)
    assert repr_of(array[0], device="cuda:1") == "tensor(1., device='cuda:1')"
    assert repr_of(np.zeros(2, np.int64), device="cuda:0") == "tensor([0, 0], device='cuda:0')"


def test_default_dtype_is_implied(torch):
    array = np.ones(2)
    torch.set_default_dtype(torch.float64)
    dtypes.set_default_dtype(dtypes.float64)
    try:
        assert repr_of(array) == repr(torch.tensor(array)) == "tensor([1., 1.])"
        assert repr_of(array.astype(np.float32)) == torch_repr(array.astype(np.float32))
    finally:
        torch.set_default_dtype(torch.float32)
        dtypes.set_default_dtype(dtypes.float32)


def test_suffixes_wrap_as_in_pytorch(torch):
    for n in range(1, 40):
        array = np.arange(float(n))
        assert repr_of(array, requires_grad=True) == torch_repr(array, requires_grad=True)


def test_names_without_pytorch():
    assert repr_of(np.ones(2, ml_dtypes.bfloat16)) == "tensor([1., 1.], dtype=gradcore.bfloat16)"
    assert repr_of(np.ones((1, 2)), prefix="Weight(") == "Weight([[1., 1.]], dtype=gradcore.float64)"


def test_options_stay_until_changed():
    before = get_printoptions()
    try:
        set_printoptions(precision=2)
        assert repr_of(np.array([1.12345], np.float32)) == "tensor([1.12])"
        set_printoptions(threshold=5)
        assert repr_of(np.arange(10)) == "tensor([0, 1, 2,  ..., 7, 8, 9])"
        set_printoptions(profile="default")
        assert get_printoptions() == before
        with pytest.raises(ValueError, match="profile must be one of default, short, full, got 'long'"):
            set_printoptions(precision=1, profile="long")
        assert get_printoptions() == before
    finally:
        set_printoptions(**before)


def test_options_are_restored_after_an_error():
    before = get_printoptions()
    with pytest.raises(KeyError), printoptions(precision=1):
        raise KeyError
    assert get_printoptions() == before
