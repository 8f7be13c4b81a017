"""Tensors as text, character for character as PyTorch prints them.

The layout is that of `torch._tensor_str`: one width for all numbers, four decimals unless every number is whole, the
scientific form where the magnitudes span more than three decades, `...` in place of the middle of large tensors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import dtypes

# The functions of gradcore that are made here.
__all__ = [
    "get_printoptions",
    "set_printoptions",
]


@dataclasses.dataclass
class PrintOptions:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": PrintOptions(),
    "short": PrintOptions(precision=2, edgeitems=2),
    "full": PrintOptions(threshold=math.inf),
}
_options = PrintOptions()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors are printed; what is not given stays as it is, except `sci_mode`.

    Args:
        precision: digits after the decimal point (default 4).
        threshold: number of elements above which only the edges are printed (default 1000).
        edgeitems: elements printed at either end of a dimension then (default 3).
        linewidth: characters a line (default 80).
        profile: `"default"`, `"short"` (2 digits, 2 edge items) or `"full"` (never summarised); others override it.
        sci_mode: scientific notation always (True), never (False), or where the numbers ask for it (None).

    Raises:
        ValueError: `profile` is none of these.
    """
    global _options
    if profile is not None and profile not in _PROFILES:
        raise ValueError(f"set_printoptions(): profile must be one of {', '.join(_PROFILES)}, got {profile!r}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = dataclasses.replace(_PROFILES[profile] if profile else _options, sci_mode=sci_mode, **changes)


def get_printoptions() -> dict[str, Any]:
    """The current options, as keyword arguments for `set_printoptions`."""
    return dataclasses.asdict(_options)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """`set_printoptions(**options)` for the length of a `with` block."""
    before = get_printoptions()
    try:
        set_printoptions(**options)
        yield
    finally:
        set_printoptions(**before)


def tensor_str(array: np.ndarray[Any, Any], indent: int = 0) -> str:
    """The numbers of a tensor, in brackets; lines after the first start `indent` characters to the right.

    >>> print(tensor_str(np.array([[1.0, -0.5], [2.0, 1e-3]], np.float32)))
    [[ 1.0000e+00, -5.0000e-01],
     [ 2.0000e+00,  1.0000e-03]]
    """
    if array.size == 0:
        return "[]"
    if dtypes.from_numpy(array.dtype).is_floating_point:
        array = array.astype(np.float64)
    summarize = array.size > _options.threshold
    formatter = _formatter(_edges(array) if summarize else array)
    return _nested_str(array, indent, summarize, *formatter)


def repr_of(
    array: np.ndarray[Any, Any],
    *,
    device: object = "cpu",
    requires_grad: bool = False,
    grad_fn_name: str | None = None,
    tangent: object = None,
    prefix: str = "tensor(",
) -> str:
    """A tensor's `repr`: its numbers, then whatever of device, shape, dtype and autograd state they do not imply.

    `array` is the data on the host, `device` the place it came from, `prefix` what opens the expression.

    >>> repr_of(np.zeros((2, 1), np.float64), requires_grad=True)
    'tensor([[0.],\\n        [0.]], dtype=gradcore.float64, requires_grad=True)'
    >>> repr_of(np.zeros((0, 3), np.float32), device="cuda:0")
    "tensor([], device='cuda:0', size=(0, 3))"
    """
    dtype = dtypes.from_numpy(array.dtype)
    suffixes = []
    if str(device) != "cpu":
        suffixes.append(f"device='{device}'")
    # A shape shows in the numbers unless there are none; (0,) is what [] stands for.
    if (array.size == 0 and array.ndim != 1) or (array.size and not _options.edgeitems):
        suffixes.append(f"size={array.shape}")
    implied = (
        (dtypes.get_default_dtype(),) if array.size == 0 else (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_)
    )
    if dtype not in implied:
        suffixes.append(f"dtype={dtype}")
    if grad_fn_name is not None:
        suffixes.append(f"grad_fn=<{grad_fn_name}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")
    return _with_suffixes(prefix + tensor_str(array, len(prefix)), suffixes, len(prefix)) + ")"


Formatter = tuple[int, Callable[[Any], str]]


def _formatter(array: np.ndarray[Any, Any]) -> Formatter:
    """The common width of all numbers, and how one of them is written."""
    if array.dtype.kind != "f":
        return max((len(str(value)) for value in array.ravel().tolist()), default=1), str
    shown = array[np.isfinite(array) & (array != 0)]
    whole = bool((shown == np.ceil(shown)).all())
    write: Callable[[Any], str]
    if shown.size and _is_scientific(np.abs(shown)):
        write = f"{{:.{_options.precision}e}}".format
    elif whole:
        # The point tells a whole float from an integer.
        write = _whole_str
    else:
        write = f"{{:.{_options.precision}f}}".format
    return max((len(write(value)) for value in shown.tolist()), default=1), write


def _whole_str(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _is_scientific(magnitudes: np.ndarray[Any, Any]) -> bool:
    if _options.sci_mode is not None:
        return _options.sci_mode
    low, high = float(magnitudes.min()), float(magnitudes.max())
    # The quotient comes last: only between these bounds can it not overflow.
    return high > 1e8 or low < 1e-4 or high / low > 1000


def _edges(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements that a summary shows."""
    k = _options.edgeitems
    for axis, size in enumerate(array.shape):
        if size > 2 * k:
            array = array.take([*range(k), *range(size - k, size)], axis)
    return array


def _nested_str(
    array: np.ndarray[Any, Any], indent: int, summarize: bool, width: int, write: Callable[[Any], str]
) -> str:
    if array.ndim == 0:
        return write(array.item()).rjust(width)
    k = _options.edgeitems
    shortened = summarize and len(array) > 2 * k
    kept = [*range(k), *range(len(array) - k, len(array))] if shortened else range(len(array))
    if array.ndim == 1:
        values = array.tolist()
        items = [write(values[i]).rjust(width) for i in kept]
        if shortened:
            items.insert(k, " ..." if k else "...")
        per_line = max(1, (_options.linewidth - indent) // (width + 2))
        lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    items = [_nested_str(array[i], indent + 1, summarize, width, write) for i in kept]
    if shortened:
        items.insert(k, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(items) + "]"


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append the suffixes, each on a new line where it would pass the line width."""
    # PyTorch's count: the newline before the last line and the closing bracket are part of it.
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text
