"""Anomaly mode: where a NaN comes from, and which forward call an error in the backward pass belongs to."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from typing import Any

from ..ops.reductions import holds
from . import engine
from .grad_mode import mode as current
from .lines import calls, stack_of, stacklevel, trace_lines, written
from .tape import Observer, observe_all
from .variable import Frame, Node, Variable, next_sequence

_lock = threading.Lock()
_enabled, _check_nan = False, True


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on."""
    return _enabled


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode, when it is on, looks for NaN."""
    return _check_nan


def _set(enabled: bool, check_nan: bool) -> None:
    global _enabled, _check_nan
    with _lock:
        if enabled != _enabled:
            trace_lines.count(1 if enabled else -1)
            engine.anomaly = _backward if enabled else None
        if (enabled and check_nan) != (_enabled and _check_nan):
            observe_all(_forward, enabled and check_nan)
        _enabled, _check_nan = enabled, check_nan


class set_detect_anomaly:
    """Switch anomaly mode on or off: at once, and as a context manager until the end of the block.

    It is that of the whole process. See `detect_anomaly`.

    >>> import gradcore as torch
    >>> with torch.autograd.set_detect_anomaly(True):
    ...     torch.is_anomaly_enabled()
    True

    Raises:
        TypeError: an argument is no bool.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        for position, (name, value) in enumerate((("enabled", mode), ("check_nan", check_nan)), 1):
            if not isinstance(value, bool):
                raise TypeError(
                    f"set_anomaly_enabled(): argument '{name}' (position {position}) must be bool, not "
                    f"{type(value).__name__}"
                )
        self._before = _enabled, _check_nan
        _set(mode, check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        _set(*self._before)


class detect_anomaly:
    """Find what goes wrong: a context manager for debugging, which slows everything down.

    What is recorded and changed in place in the block remembers its line. A backward pass that fails warns with the
    traceback of the forward call of the node that failed; the error for a saved tensor that was changed in place names
    the line that changed it.

    With `check_nan` (the default), besides:

    - a node of the backward pass that gives NaN raises RuntimeError;
    - an operation whose result holds NaN while none of its inputs does warns (RuntimeWarning) with its line: there, NaN
      arises. It is no error, for a NaN may be selected away, as by `where`, or be meant;
    - `backward()` of a loss that is NaN raises RuntimeError, which tells where that NaN arose. No `.grad` is changed.

    >>> import gradcore as torch
    >>> x = torch.zeros(1, requires_grad=True)
    >>> with torch.autograd.detect_anomaly():  # doctest: +SKIP
    ...     (x.sqrt() * 0).backward()
    RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
    """

    def __init__(self, check_nan: bool = True):
        self._check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            UserWarning,
            stacklevel=2,
        )

    def __enter__(self) -> None:
        self._before = _enabled, _check_nan
        _set(True, self._check_nan)

    def __exit__(self, *exc: object) -> None:
        _set(*self._before)


# ---------------------------------------------------------------- forward
class Origin:
    """Where a NaN comes from: a text, the calls that led there, and when."""

    def __init__(self, text: str, stack: Sequence[Frame]):
        self.time = next_sequence()
        self.text = f"{text}:\n{written(stack[-1:])}".rstrip()


class _Before(threading.local):
    held = False


class _Forward(Observer):
    """Follows NaN through the operations: a tensor that holds one knows its `Origin`."""

    def __init__(self) -> None:
        # Whether the tensor that is being changed in place held NaN before.
        self._before = _Before()

    def changing(self, target: Variable) -> None:
        self._before.held = holds("any_nan", target._array)

    def done(self, op: Any, inputs: Sequence[Any], attrs: Any, results: Sequence[Any]) -> None:
        if op is None or op.view:  # no new values
            for t in results:
                t._nan = inputs[0]._nan if inputs else None
            return
        for t in results:
            if not isinstance(t, Variable) or not holds("any_nan", t._array):
                continue
            changed = bool(inputs) and t is inputs[0]
            if t._nan is not None and not changed:  # a Function: an operation within has seen to it
                continue
            guilty = [
                k for k, x in enumerate(inputs) if (self._before.held if changed and k == 0 else _value_is_nan(x))
            ]
            known = [inputs[k]._nan for k in guilty if isinstance(inputs[k], Variable) and inputs[k]._nan is not None]
            if known:
                t._nan = max(known, key=lambda origin: origin.time)  # the clock runs backwards
                continue
            stack = calls()
            if guilty:
                t._nan = Origin(f"it came in with {_name(op, guilty[0])} of {op.name}()", stack)
                continue
            infinite = [_name(op, k) for k, x in enumerate(inputs) if _value_is_infinite(x)]
            though = f" (infinities are in {', '.join(infinite)})" if infinite else ""
            t._nan = origin = Origin(f"it arose in {op.name}(), none of whose inputs holds NaN{though}", stack)
            warnings.warn(f"The first NaN: {origin.text}", RuntimeWarning, stacklevel=stacklevel())


def _value_is_nan(x: Any) -> bool:
    return holds("any_nan", x._array) if isinstance(x, Variable) else isinstance(x, float) and x != x


def _value_is_infinite(x: Any) -> bool:
    return holds("any_inf", x._array) if isinstance(x, Variable) else isinstance(x, float) and abs(x) == float("inf")


def _name(op: Any, position: int) -> str:
    named = position < len(op.inputs) and not op.variadic
    return f"'{op.inputs[position]}'" if named else f"argument {position}"


# ---------------------------------------------------------------- backward
_NO_FORWARD = "No forward pass information available. Enable detect anomaly during forward pass for more information."


class _Backward:
    """What the engine asks."""

    def check_results(self, node: Node, results: Sequence[Any]) -> None:
        """RuntimeError if a gradient that is wanted of `node` holds NaN."""
        if not _check_nan:
            return
        for i, (edge, g) in enumerate(zip(node.edges, results)):
            if edge is not None and g is not None and holds("any_nan", g._array if isinstance(g, Variable) else g):
                message = f"Function '{node.name()}' returned nan values in its {i}th output."
                loss = _nan_loss(current.running.roots)
                raise RuntimeError(message if loss is None else f"{message} {loss}")

    def check_roots(self, roots: Sequence[tuple[Variable, Any]]) -> None:
        """RuntimeError if the loss is NaN."""
        loss = _nan_loss(roots) if _check_nan else None
        if loss is not None:
            raise RuntimeError(loss)

    def report(self, node: Node) -> None:
        """Warn with the forward call that `node`, which has failed, belongs to."""
        stack = stack_of(node)
        text = f"Error detected in {node.name()}. "
        if stack is None:
            warnings.warn(text + _NO_FORWARD, UserWarning, stacklevel=stacklevel())
            return
        text += f"Traceback of forward call that caused the error:\n{written(stack)}"
        warnings.warn(text, UserWarning, stacklevel=stacklevel())
        inducing = node.induced_by
        while inducing is not None:
            text = f"\n\nPrevious calculation was induced by {inducing.name()}. "
            stack = stack_of(inducing)
            if stack is not None:
                text += f"Traceback of forward call that induced the previous calculation:\n{written(stack)}"
            warnings.warn(text if stack is not None else text + _NO_FORWARD, UserWarning, stacklevel=stacklevel())
            inducing = getattr(inducing, "induced_by", None)


def _nan_loss(roots: Sequence[tuple[Variable, Any]]) -> str | None:
    """What is to say of a loss that is NaN, if one of `roots` is."""
    for t, _ in roots:
        if t._array.size == 1 and holds("any_nan", t._array):
            return f"The loss is NaN: {_NO_FORWARD if t._nan is None else t._nan.text}"
    return None


_forward, _backward = _Forward(), _Backward()
