"""Modules as functions of their parameters and buffers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ..nn.modules.module import Module
from ..tensor.functions import FUNCTIONS
from ..tensor.tensor import Tensor

_ABSENT: Any = object()


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: dict[str, Tensor] | Sequence[dict[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call `module` with other tensors in the place of its parameters and buffers; it is left as it was.

    What the call assigns to a replaced buffer ends up in the dictionary that was given.

    Args:
        parameter_and_buffer_dicts: tensors by dotted name, as `named_parameters` gives them; or several such
            dictionaries without a name in common. Names left out keep the module's own tensors.
        args: the positional arguments, a tuple; anything else is the only one.
        kwargs: the keyword arguments.
        tie_weights: one replacement serves all names of a tensor that the module has under several.
        strict: every parameter and buffer must be given, and nothing else.

    Raises:
        ValueError: not dictionaries; a name in several of them; different tensors for names that are tied.
        RuntimeError: missing or unexpected names, if `strict`.

    >>> import gradcore as torch
    >>> linear = torch.nn.Linear(2, 1)
    >>> functional_call(linear, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, torch.tensor([[1.0, 2.0]]))
    tensor([[3.]])
    """
    tensors = _merged(parameter_and_buffer_dicts)
    values = args if isinstance(args, tuple) else () if args is None else (args,)
    with _replaced(module, tensors, tie_weights, strict):
        return module(*values, **(kwargs or {}))


def _merged(given: Any) -> dict[str, Any]:
    if isinstance(given, dict):
        return given
    if not isinstance(given, Sequence):
        raise ValueError(
            f"Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got {type(given)}"
        )
    if not all(isinstance(d, dict) for d in given):
        raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
    repeated = [name for name, times in Counter(name for d in given for name in d).items() if times > 1]
    if repeated:
        raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
    return {name: t for d in given for name, t in d.items()}


@contextmanager
def _replaced(module: Module, given: dict[str, Any], tie_weights: bool, strict: bool) -> Iterator[None]:
    """The module with the tensors in `given`, until the end of the block."""
    own = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    tensors = _tied(own, given) if tie_weights else given
    if strict:
        _check_names(module, own, tensors)
    before: list[tuple[str, Any]] = []
    try:
        for name, t in tensors.items():
            before.append((name, _swap(module, name, t)))
        yield
    finally:
        # Backwards, for modules that are reached by several names.
        after = {name: _swap(module, name, t) for name, t in reversed(before)}
        given.update({name: after[name] for name in given if after.get(name, _ABSENT) is not _ABSENT})


def _tied(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given`, with each tensor under all the names that the module has for what it replaces."""
    names: dict[int, list[str]] = {}
    for name, t in own.items():
        names.setdefault(id(t), []).append(name)
    made = dict(given)
    for together in names.values():
        replacements = {id(given[name]): given[name] for name in together if name in given}
        if len(replacements) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(together)}, which are tied. Consider using "
                "tie_weights=False"
            )
        for t in replacements.values():
            made.update(dict.fromkeys(together, t))
    return made


def _check_names(module: Module, own: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    unexpected = [name for name in tensors if name not in own]
    missing = [name for name in own if name not in tensors]
    lines = [
        f"{what} key(s): {', '.join(map(repr, names))}."
        for what, names in (("Unexpected", unexpected), ("Missing", missing))
        if names
    ]
    if lines:
        raise RuntimeError("Error(s) in reparametrizing for {}:\n\t{}".format(module._get_name(), "\n\t".join(lines)))


def _swap(module: Module, name: str, t: Any) -> Any:
    """Put `t` (`_ABSENT`: nothing) where `module` has the tensor of the dotted name, and return that."""
    path, _, name = name.rpartition(".")
    owner = module.get_submodule(path)
    if t is not None and t is not _ABSENT and not isinstance(t, Tensor):
        raise TypeError(f"{t} is not an instance of gradcore.Tensor")
    for members in (owner._parameters, owner._buffers):
        if name in members:
            before: Any = members[name]
            if t is _ABSENT:
                del members[name]
            else:
                # Not by assignment, which takes nothing but a Parameter.
                members[name] = t
            return before
    before = getattr(owner, name, _ABSENT)
    if before is not None and before is not _ABSENT and not isinstance(before, Tensor):
        raise TypeError(f"attribute `{name}`: {before} is not an instance of gradcore.Tensor")
    if t is not _ABSENT:
        setattr(owner, name, t)
    elif before is not _ABSENT:
        delattr(owner, name)
    return before


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of models of one class, each stacked along a new first dimension.

    Returns:
        Two dictionaries by dotted name. Stacked parameters are leaves that require grad as the models' own do.

    Raises:
        RuntimeError: no models; of different classes or training modes; parameters of one name that differ in
            `requires_grad`.

    >>> import gradcore as torch
    >>> parameters, buffers = stack_module_state([torch.nn.Linear(2, 3) for _ in range(4)])
    >>> parameters["weight"].shape
    gradcore.Size([4, 3, 2])
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) != 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) != 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    return (
        _stacked([dict(m.named_parameters()) for m in models]),
        _stacked([dict(m.named_buffers()) for m in models]),
    )


def _stacked(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    made = {}
    for name in states[0]:
        tensors = [state[name] for state in states]
        if len({t.requires_grad for t in tensors}) != 1:
            raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
        made[name] = FUNCTIONS["stack"](tensors).detach().requires_grad_(tensors[0].requires_grad)
    return made
