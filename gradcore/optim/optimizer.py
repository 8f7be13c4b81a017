"""`Optimizer`: groups of parameters with their options, and the state of each parameter."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

from ..autograd.grad_mode import enable_grad
from ..backends import Backend, backend_of
from ..tensor.gradients import zero_gradients
from ..tensor.naming import typename
from ..tensor.tensor import Tensor
from .hooks import Hooked, noted, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

__all__ = ["Group", "Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

Group = dict[str, Any]


def options(given: dict[str, Any]) -> dict[str, Any]:
    """The defaults of an optimizer's groups, from the `locals()` of its constructor: the parameters after `params`."""
    code = given["__class__"].__init__.__code__
    return {name: given[name] for name in code.co_varnames[2 : code.co_argcount + code.co_kwonlyargcount]}


class Optimizer(Hooked):
    """The base class of optimizers.

    A subclass passes its options' `defaults` to `__init__` and defines `step(closure=None)`. Every group in
    `param_groups` is a dictionary of the parameters (`"params"`) and the options that hold for them, which may be
    changed between steps; `state` holds a dictionary for each parameter.

    Args:
        params: tensors, (name, tensor) pairs, or dictionaries of such under `"params"` and options of their own.
        defaults: the options of groups that do not set them.

    Raises:
        TypeError: parameters that are no tensors, or in no definite order.
        ValueError: no parameters, non-leaf tensors, or a parameter in two groups.
    """

    # Whether a step was made, which learning rate schedules ask for.
    _stepped = False
    # The `step` that was set on the optimizer itself, if any, when a schedule was made for it.
    _scheduled_step: Any = None
    # The state that is one number, whatever the parameter.
    _scalars: tuple[str, ...] = ("step",)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "step" in cls.__dict__:
            cls.step = noted(cls.step)  # type: ignore[method-assign]

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]):
        self.defaults = defaults
        # The steps of parameters whose count is kept on a GPU.
        self._counts: dict[Any, int] = {}
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, but got "
                + typename(params)
            )
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters, with options of their own, to those optimized."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        given = param_group["params"]
        if isinstance(given, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
                "will change between runs. Please use a list instead."
            )
        entries = [given] if isinstance(given, Tensor) else list(given)
        names = [e[0] for e in entries if isinstance(e, tuple)]
        params = [e[1] if isinstance(e, tuple) else e for e in entries]
        if names and len(names) != len(params):
            raise ValueError("all optimizer params should be with/without names. Some param names are missing")
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError("optimizer can only optimize Tensors, but one of the params is " + typename(p))
            if not (p.is_leaf or p.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        if len(params) != len(set(params)):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this will cause an error; "
                "see github.com/pytorch/pytorch/issues/40967 for more information",
                stacklevel=3,
            )
        for other in self.param_groups:
            if bool(names) != ("param_names" in other):
                raise ValueError(
                    "all optimizer param groups should be with/without names. cannot add param group "
                    f"{'with' if names else 'without'} names to the optimizer"
                )
            if not set(params).isdisjoint(other["params"]):
                raise ValueError("some parameters appear in more than one parameter group")
        # The caller's dictionary becomes the group, as in PyTorch.
        param_group["params"] = params
        if names:
            param_group["param_names"] = names
        for name, value in self.defaults.items():
            param_group.setdefault(name, value)
        self.param_groups.append(param_group)

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    # ---------------------------------------------------------------- stepping
    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or fill them with zeros."""
        for group in self.param_groups:
            zero_gradients(group["params"], set_to_none)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters by their gradients; those without one stay as they are.

        Args:
            closure: computes the loss and its gradients anew; called once, with gradients enabled.

        Returns:
            What `closure` returned, or None.
        """
        raise NotImplementedError

    def _evaluate(self, closure: Callable[[], Any] | None) -> Any:
        if closure is None:
            return None
        with enable_grad():
            return closure()

    def _batches(self, group: Group, key: Callable[[Any], Any]) -> Iterable[tuple[Backend, Any, list[Any]]]:
        """The parameters that have gradients, in batches of one device, dtype and `key(parameter)`.

        A batch is what one launch updates.
        """
        batches: dict[Any, tuple[Backend, Any, list[Any]]] = {}
        for p in group["params"]:
            if p._grad is not None:
                array = p._array
                backend = backend_of(array)
                value = key(p)
                slot = (backend, array.dtype, value)
                batch = batches.get(slot)
                if batch is None:
                    batch = batches[slot] = (backend, value, [])
                batch[2].append(p)
        return batches.values()

    # ---------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """`{"state": ..., "param_groups": ...}`, with numbers for parameters; the state's tensors are not copied."""
        for hook in self._hooks_of("state_dict_pre"):
            hook(self)
        numbers: dict[int, int] = {}
        for p in chain.from_iterable(group["params"] for group in self.param_groups):
            numbers.setdefault(id(p), len(numbers))
        groups = []
        for group in self.param_groups:
            packed = {name: value for name, value in group.items() if name != "params"}
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {numbers[id(p)] if isinstance(p, Tensor) else p: values for p, values in self.state.items()}
        found: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._hooks_of("state_dict_post"):
            changed = hook(self, found)
            found = found if changed is None else changed
        return found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and a copy of the state, its tensors converted to the parameters' dtypes and devices.

        Parameters are matched by position.

        Raises:
            ValueError: groups differ in number or size; the optimizer stays as it was.
        """
        state_dict = dict(state_dict)
        for hook in self._hooks_of("load_state_dict_pre"):
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(a["params"]) != len(b["params"]) for a, b in zip(saved, self.param_groups, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group"
            )
        parameters: dict[Any, Any] = {}
        capturable: set[Any] = set()
        for loaded, group in zip(saved, self.param_groups, strict=True):
            parameters.update(zip(loaded["params"], group["params"], strict=True))
            if loaded.get("capturable"):
                capturable.update(group["params"])
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            p = parameters.get(number)
            if p is None:
                state[number] = values
            else:
                state[p] = {
                    name: _taken_over(value, p, name in self._scalars, p in capturable)
                    for name, value in values.items()
                }
        for loaded, group in zip(saved, self.param_groups, strict=True):
            loaded["params"] = group["params"]
            if "param_names" in group:
                loaded.setdefault("param_names", group["param_names"])
            for name, value in self.defaults.items():
                loaded.setdefault(name, value)
        self.state, self.param_groups, self._counts = state, saved, {}
        for hook in self._hooks_of("load_state_dict_post"):
            hook(self)


def _taken_over(value: Any, parameter: Any, is_scalar: bool, capturable: bool) -> Any:
    if not isinstance(value, Tensor):
        return value
    device = parameter.device if capturable or not is_scalar else "cpu"
    dtype = parameter.dtype if parameter.is_floating_point() and not is_scalar else None
    return value.detach().to(device=device, dtype=dtype, copy=True)
