"""`inference_mode`: results that autograd will never see, with no version counter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

from .grad_mode import _GradMode, mode
from .tape import Observer, observing
from .variable import INFERENCE, Variable

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F", bound=Callable[..., Any])


def is_inference_mode_enabled() -> bool:
    """Whether this thread is in inference mode."""
    return mode.inference


class inference_mode(_GradMode):
    """Record nothing, as `no_grad` does; and what is made in the block stays out of autograd afterwards, too.

    A context manager and decorator, for each thread separately. Tensors made inside are inference tensors: they have no
    version counter, and outside cannot be changed in place, require grad or be saved for the backward pass; `clone()`
    gives a normal tensor. Views of normal tensors are normal. `enable_grad` does not record inside. `mode=False` is
    normal mode, with gradients.

    >>> import gradcore as torch
    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.inference_mode():
    ...     y = x * 2
    >>> y.requires_grad, y.is_inference()
    (False, True)
    """

    @overload
    def __new__(cls, mode: bool = True) -> Self: ...
    @overload
    def __new__(cls, mode: F) -> F: ...  # type: ignore[misc]
    def __new__(cls, mode: Any = True) -> Any:
        # Used as a bare decorator: @inference_mode
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True):
        self.mode = mode
        self._entered: list[tuple[bool, bool, Any]] = []

    def __enter__(self) -> None:
        watching = observing(_Marker())
        self._entered.append((mode.enabled, mode.inference, watching))
        mode.enabled, mode.inference = not self.mode, self.mode
        watching.__enter__()

    def __exit__(self, *exc: object) -> None:
        mode.enabled, mode.inference, watching = self._entered.pop()
        watching.__exit__()

    def _fresh(self) -> inference_mode:
        return inference_mode(self.mode)


class _Marker(Observer):
    """Makes inference tensors of new results. (Those that share memory with a tensor share its counter already.)"""

    def done(self, op: Any, inputs: Sequence[Any], attrs: Any, results: Sequence[Any]) -> None:
        if mode.inference and (op is not None or not inputs):
            for t in results:
                if isinstance(t, Variable) and t._counter is None:
                    t._counter = INFERENCE
