"""Checkpointing: compute parts of the forward pass again in the backward pass, instead of keeping what they saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from ..autograd.autocast import Snapshot
from ..autograd.derivatives import with_tangent_of
from ..autograd.engine import check_versions
from ..autograd.function import Function
from ..autograd.grad_mode import enable_grad, is_grad_enabled, mode
from ..autograd.lines import Frame, calls
from ..autograd.saved import saved_tensors_hooks
from ..autograd.tape import wants_grad
from ..tensor import Tensor
from ..tensor.creation import empty
from ..tensor.random import default_generator
from ._pytree import flatten, unflatten

__all__ = [
    "CheckpointError",
    "checkpoint",
    "checkpoint_sequential",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]

Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


class CheckpointError(RuntimeError):
    """The recomputation did not do what the forward pass did."""


# What `set_checkpoint_early_stop` and `set_checkpoint_debug_enabled` have set, which overrides the arguments.
_early_stop: bool | None = None
_debug: bool | None = None


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Whether recomputations stop as soon as they have all that is wanted of them (the default), in a `with` block."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Set `debug` of all checkpoints in a `with` block; None leaves it to each."""
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


def _no_contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), nullcontext()


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
    context_fn: Contexts = _no_contexts,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, of which only the arguments are kept for the backward pass.

    What its operations would have saved is computed again when the backward pass needs it, by another call of
    `function`, which must do the same again. That costs one more forward pass of this part and saves its memory.
    Checkpoints may be nested. (T. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.)

    Args:
        function: takes and returns anything; tensors nested in tuples, lists and dictionaries are kept as arguments.
        use_reentrant: taken for PyTorch's sake. Both values give the same, which can do all that PyTorch's
            `use_reentrant=False` can.
        preserve_rng_state: give the second call the random numbers of the first.
        context_fn: returns two context managers, for the first call and for the second.
        determinism_check: `"default"` compares shapes, dtypes and devices of the two calls, `"none"` does not.
        debug: let the error of that comparison show the line that saved each tensor, in both calls.
        early_stop: end the second call when it has computed all that is wanted.

    >>> import gradcore as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> y = torch.utils.checkpoint.checkpoint(lambda t: t.exp().sin(), x, use_reentrant=False)
    >>> y.sum().backward()
    >>> x.grad
    tensor([-2.4784,  3.3129])

    Raises:
        CheckpointError: in the backward pass, if the second call saves other tensors than the first did.
        ValueError: for another `determinism_check`.
    """
    if determinism_check not in ("default", "none"):
        raise ValueError(f"determinism_check should be one of ['default', 'none'], but got {determinism_check}")
    first, second = context_fn()
    if not is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    call = _Call(function, args, kwargs, second)
    call.check = determinism_check == "default"
    call.debug = debug if _debug is None else _debug
    call.early_stop = early_stop if _early_stop is None else _early_stop
    if preserve_rng_state:
        call.random_state = default_generator.get_state()
    with call.saving(), first:
        return function(*args, **kwargs)


def checkpoint_sequential(
    functions: Sequence[Callable[[Any], Any]],
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """`functions`, one after the other, in `segments` parts of equal length, each but the last a checkpoint.

    `functions` is a sequence of functions of one argument, or an `nn.Sequential`.

    >>> import gradcore as torch
    >>> model = torch.nn.Sequential(*[torch.nn.Linear(3, 3) for _ in range(6)])
    >>> y = torch.utils.checkpoint.checkpoint_sequential(model, 3, torch.ones(2, 3, requires_grad=True))
    >>> y.shape
    gradcore.Size([2, 3])
    """
    if hasattr(functions, "children"):
        functions = list(functions.children())
    size = len(functions) // segments

    def run(start: int, stop: int) -> Callable[[Any], Any]:
        def part(value: Any) -> Any:
            for function in functions[start:stop]:
                value = function(value)
            return value

        return part

    start = 0
    for _ in range(segments - 1):
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, **kwargs)
        start += size
    return run(start, len(functions))(input)


class _SaveInputs(Function):
    """Saves tensors as any operation does, and so through the hooks of a checkpoint around it."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        return start.detach()

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> None:
        return None


class _Stop(Exception):
    """Ends a recomputation that has all it wants."""


class _Call:
    """A checkpointed call: how to repeat it, and what it saved first."""

    check: bool
    debug: bool
    early_stop: bool
    random_state: Any = None

    def __init__(
        self, function: Callable[..., Any], args: Any, kwargs: Any, context: AbstractContextManager[Any]
    ) -> None:
        self.function, self.context, self.autocast = function, context, Snapshot()
        leaves, self.structure = flatten((args, kwargs))
        self.tensors = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]
        self.wanted = [wants_grad(leaves[i]) for i in self.tensors]
        self.leaves = [None if isinstance(x, Tensor) else x for x in leaves]
        self.inputs = _SaveInputs.apply(empty(0, requires_grad=True), *[leaves[i] for i in self.tensors]).grad_fn
        # Of each saved tensor what it is, and where the call was that saved it.
        self.saved: list[dict[str, Any]] = []
        self.lines: list[tuple[Frame, ...]] = []

    def saving(self) -> saved_tensors_hooks:
        """The hooks of the first call, which keep a number instead of a tensor."""

        def pack(t: Tensor) -> int:
            self.saved.append(_kind(t))
            if self.debug:
                self.lines.append(calls())
            return len(self.saved) - 1

        return saved_tensors_hooks(pack, self.unpack)

    def unpack(self, number: int) -> Tensor:
        """The saved tensor of this number, computed with all others of the call when the first of them is asked for.

        They are kept until each was asked for once, or the backward pass is over.
        """
        notes = {} if mode.running is None else mode.running.notes
        computed = notes.get(self)
        if computed is None or computed[number] is None:
            computed = notes[self] = self.recomputed()
        found, computed[number] = computed[number], None
        return found

    def recomputed(self) -> list[Any]:
        """Call the function again, and return what is saved on the way."""
        check_versions(self.inputs)
        leaves = list(self.leaves)
        for i, wanted, t in zip(self.tensors, self.wanted, self.inputs.attrs["ctx"].saved_tensors):
            leaves[i] = with_tangent_of(t, t.detach()).requires_grad_(wanted)
        args, kwargs = unflatten(leaves, self.structure)
        found: list[Any] = []
        lines: list[tuple[Frame, ...]] = []

        def pack(t: Tensor) -> None:
            if len(found) == len(self.saved):
                raise self.error(
                    "trying to save more tensors during recomputation than during the original forward pass."
                )
            found.append(t.detach())
            if self.debug:
                lines.append(calls())
            if self.early_stop and len(found) == len(self.saved):
                raise _Stop

        state = default_generator.get_state()
        try:
            if self.random_state is not None:
                default_generator.set_state(self.random_state)
            with enable_grad(), saved_tensors_hooks(pack, _never), self.autocast, self.context:
                self.function(*args, **kwargs)
        except _Stop:
            pass
        finally:
            if self.random_state is not None:
                default_generator.set_state(state)
        if len(found) != len(self.saved):
            raise self.error(
                "A different number of tensors was saved during the original forward and recomputation.\nNumber of "
                f"tensors saved during forward: {len(self.saved)}\nNumber of tensors saved during recomputation: "
                f"{len(found)}.",
                lines,
            )
        differing = [
            f"tensor at position {i}:\nsaved metadata: {before}\nrecomputed metadata: {_kind(t)}"
            for i, (before, t) in enumerate(zip(self.saved, found))
            if before != _kind(t)
        ]
        if self.check and differing:
            raise self.error(
                "Recomputed values for the following tensors have different metadata than during the forward pass.\n"
                + "\n".join(differing),
                lines,
            )
        return found

    def error(self, what: str, lines: Sequence[tuple[Frame, ...]] = ()) -> CheckpointError:
        """The complaint; with `debug`, of each tensor the line that saved it in both calls."""
        if not self.debug:
            return CheckpointError(
                f"gradcore.utils.checkpoint: {what}\n\nTip: To see a more detailed error message, either pass "
                "`debug=True` to `gradcore.utils.checkpoint.checkpoint(...)` or wrap the code block with `with "
                "gradcore.utils.checkpoint.set_checkpoint_debug_enabled(True):` to enable checkpoint debug mode "
                "globally."
            )
        text = [f"gradcore.utils.checkpoint: {what}", "", "Lines that saved tensors in the original forward pass:"]
        text += [f"  {i}: {_line(stack)}" for i, stack in enumerate(self.lines)]
        text += ["Lines that saved tensors in the recomputation:"]
        text += [f"  {i}: {_line(stack)}" for i, stack in enumerate(lines)]
        return CheckpointError("\n".join(text))


def _never(packed: None) -> Any:
    raise CheckpointError(
        "gradcore.utils.checkpoint: a graph made during the recomputation was differentiated after it; return what is "
        "needed of it from the checkpointed function instead"
    )


def _kind(t: Tensor) -> dict[str, Any]:
    return {"shape": t.shape, "dtype": t.dtype, "device": t.device}


def _line(stack: Sequence[Frame]) -> str:
    return "{}:{} in {}".format(*stack[-1]) if stack else "unknown"
