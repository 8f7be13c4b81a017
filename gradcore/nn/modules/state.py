"""Matching a saved state with the module it is loaded into."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from ...tensor.tensor import Tensor


class _IncompatibleKeys(namedtuple("_IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What `load_state_dict` returns: names the state lacked, and names the module lacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return super().__repr__() if self.missing_keys or self.unexpected_keys else "<All keys matched successfully>"

    __str__ = __repr__


class StateMatch:
    """The entries of a state with the modules and attribute names they are for, and what does not fit."""

    def __init__(self, module: Any, state: dict[str, Any]):
        self.found: list[tuple[Any, str, Tensor]] = []
        self.missing: list[str] = []
        self.unexpected: list[str] = []
        self.errors: list[str] = []
        self._walk(module, state, "")

    @property
    def keys(self) -> _IncompatibleKeys:
        return _IncompatibleKeys(self.missing, self.unexpected)

    def check(self, name: str, strict: bool) -> None:
        """RuntimeError that lists everything that keeps the state from being loaded into a `name`."""
        lines = []
        for title, names in (("Missing", self.missing), ("Unexpected", self.unexpected)):
            if strict and names:
                quoted = ", ".join(f'"{n}"' for n in names)
                lines.append(f"{title} key(s) in state_dict: {quoted}. ")
        lines += self.errors
        if lines:
            raise RuntimeError(f"Error(s) in loading state_dict for {name}:\n\t" + "\n\t".join(lines))

    def _walk(self, module: Any, state: dict[str, Any], prefix: str) -> None:
        own = dict(module._own_state())
        for name, tensor in own.items():
            key = prefix + name
            if key not in state:
                self.missing.append(key)
                continue
            value = state[key]
            if not isinstance(value, Tensor):
                self.errors.append(
                    f'While copying the parameter named "{key}", expected gradcore.Tensor or Tensor-like object from '
                    f"checkpoint but received {type(value)}"
                )
            elif value.shape != tensor.shape:
                self.errors.append(
                    f"size mismatch for {key}: copying a param with shape {value.shape} from checkpoint, the shape in "
                    f"current model is {tensor.shape}."
                )
            else:
                self.found.append((module, name, value))
        for key in state:
            child, dot, _ = key[len(prefix) :].partition(".")
            if child not in (module._modules if dot else own):
                self.unexpected.append(key)
        for name, child in module._modules.items():
            if child is not None:
                below = f"{prefix}{name}."
                self._walk(child, {k: v for k, v in state.items() if k.startswith(below)}, below)
