"""`Module`: parameters, buffers and child modules by name, and a forward computation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ... import dtypes
from ...autograd.grad_mode import no_grad
from ...autograd.hooks import RemovableHandle, register
from ...tensor.gradients import zero_gradients
from ...tensor.naming import typename
from ...tensor.tensor import Tensor
from ..parameter import Buffer, Parameter
from .state import StateMatch, _IncompatibleKeys

M = TypeVar("M", bound="Module")


class _Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class Module:
    """The base class of all layers and models.

    A subclass calls `super().__init__()`, assigns parameters and child modules as attributes, and defines `forward`.
    Calling the module runs `forward` and the forward hooks. Hooks on a module's backward pass are not covered; those of
    tensors (`Tensor.register_hook`) are.

    >>> import gradcore as torch
    >>> class Scale(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = torch.nn.Parameter(torch.tensor(2.0))
    ...
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(torch.tensor([1.0, 3.0]))
    tensor([2., 6.], grad_fn=<MulBackward0>)
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Any]
    _forward_hooks: OrderedDict[int, _Hook]
    _forward_pre_hooks: OrderedDict[int, _Hook]

    def __init__(self) -> None:
        # Past __setattr__, which asks for what is being made here.
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _non_persistent_buffers_set=set(),
            _forward_hooks=OrderedDict(),
            _forward_pre_hooks=OrderedDict(),
            _modules={},
        )

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The computation; defined by subclasses. Call the module instead: that runs the hooks too."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    # ---------------------------------------------------------------- calling
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return self._call_with_hooks(args, kwargs)
        return self.forward(*args, **kwargs)

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        waiting = list(self._forward_hooks.values())
        result: Any = None

        def run(hook: _Hook) -> Any:
            return hook.function(self, args, kwargs, result) if hook.with_kwargs else hook.function(self, args, result)

        try:
            for hook in tuple(self._forward_pre_hooks.values()):
                args, kwargs = self._arguments_after(hook, args, kwargs)
            result = self.forward(*args, **kwargs)
            while waiting:
                changed = run(waiting.pop(0))
                if changed is not None:
                    result = changed
        except Exception:
            for hook in waiting:
                if hook.always_call:
                    run(hook)
            raise
        return result

    def _arguments_after(
        self, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not hook.with_kwargs:
            changed = hook.function(self, args)
            if changed is None:
                return args, kwargs
            return (changed if isinstance(changed, tuple) else (changed,)), kwargs
        changed = hook.function(self, args, kwargs)
        if changed is None:
            return args, kwargs
        if isinstance(changed, tuple) and len(changed) == 2:
            return changed
        raise RuntimeError(
            f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {changed}."
        )

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before `forward`; what it returns replaces the arguments.

        With `with_kwargs` it is called as `hook(module, args, kwargs)` and returns None or `(args, kwargs)`; `prepend`
        puts it before the hooks registered so far.
        """
        return _add_hook(self._forward_pre_hooks, _Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after `forward`; what it returns replaces the output.

        With `with_kwargs` it is called as `hook(module, args, kwargs, output)`; `prepend` puts it before the hooks
        registered so far; with `always_call` it is called (with what there is of an output) even if `forward` raises.
        """
        return _add_hook(self._forward_hooks, _Hook(hook, with_kwargs, always_call), prepend)

    # ---------------------------------------------------------------- attributes
    def __getattr__(self, name: str) -> Any:
        # Called for what is not found in the ordinary way, so also before __init__ has made the dictionaries.
        own = self.__dict__
        if "_parameters" in own:
            if name in own["_parameters"]:
                return own["_parameters"][name]
            if name in own["_buffers"]:
                return own["_buffers"][name]
            if name in own["_modules"]:
                return own["_modules"][name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __setattr__(self, name: str, value: Any) -> None:
        own = self.__dict__
        ready = "_parameters" in own
        if isinstance(value, Parameter):
            if not ready:
                raise AttributeError("cannot assign parameters before Module.__init__() call")
            if hasattr(type(self), name):
                raise KeyError(f"attribute '{name}' already exists")
            _check_leaf(name, value)
            self._forget(name)
            self.register_parameter(name, value)
        elif ready and name in own["_parameters"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as parameter '{name}' (gradcore.nn.Parameter or None expected)"
                )
            own["_parameters"][name] = None
        elif isinstance(value, Module):
            if not ready:
                raise AttributeError("cannot assign module before Module.__init__() call")
            if name not in own["_modules"]:
                self._forget(name)
            own["_modules"][name] = value
        elif ready and name in own["_modules"]:
            if value is not None:
                raise TypeError(
                    f"cannot assign '{typename(value)}' as child module '{name}' (gradcore.nn.Module or None expected)"
                )
            own["_modules"][name] = None
        elif isinstance(value, Buffer):
            self.register_buffer(name, value, value.persistent)
        elif ready and name in own["_buffers"]:
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(
                    f"cannot assign '{typename(value)}' as buffer '{name}' "
                    "(gradcore.nn.Buffer, gradcore.Tensor or None expected)"
                )
            own["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str) -> None:
        """Make room for a parameter or module: drop whatever else has its name."""
        for registered in (self.__dict__, self._buffers, self._modules):
            registered.pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def __delattr__(self, name: str) -> None:
        for registered in (self._parameters, self._buffers, self._modules):
            if name in registered:
                del registered[name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = [*dir(type(self)), *self.__dict__, *self._parameters, *self._modules, *self._buffers]
        return sorted(n for n in names if not n[0].isdigit())

    def _check_name(self, kind: str, name: str, registered: Mapping[str, Any]) -> None:
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {typename(name)}")
        if hasattr(self, name) and name not in registered:
            raise KeyError(f"attribute '{name}' already exists")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain "."' + (f", got: {name}" if kind == "module" else ""))
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name."""
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot assign parameter before Module.__init__() call")
        self._check_name("parameter", name, self._parameters)
        if param is not None:
            if not isinstance(param, Parameter):
                raise TypeError(
                    f"cannot assign '{typename(param)}' object to parameter '{name}' "
                    "(gradcore.nn.Parameter or None required)"
                )
            _check_leaf(name, param)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is part of the module's state but no parameter.

        It moves with `to()`, and is part of the `state_dict` if `persistent`.
        """
        if "_buffers" not in self.__dict__:
            raise AttributeError("cannot assign buffer before Module.__init__() call")
        self._check_name("buffer", name, self._buffers)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{typename(tensor)}' object to buffer '{name}' (gradcore Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module; None reserves the name."""
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{typename(module)} is not a Module subclass")
        self._check_name("module", name, self._modules)
        self._modules[name] = module

    register_module = add_module

    def get_submodule(self, target: str) -> Module:
        """The module of the dotted name `target`; itself for `""`. AttributeError if there is none."""
        found: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(found, name):
                raise AttributeError(f"{found._get_name()} has no attribute `{name}`")
            found = getattr(found, name)
            if not isinstance(found, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return found

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of the dotted name `target`. AttributeError if there is none."""
        owner, name, found = self._member(target)
        if not isinstance(found, Parameter):
            raise AttributeError(f"`{name}` is not an nn.Parameter")
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of the dotted name `target`. AttributeError if there is none."""
        owner, name, found = self._member(target)
        if name not in owner._buffers:
            raise AttributeError(f"`{name}` is not a buffer")
        return found

    def _member(self, target: str) -> tuple[Module, str, Any]:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{owner._get_name()} has no attribute `{name}`")
        return owner, name, getattr(owner, name)

    # ---------------------------------------------------------------- walking
    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """All modules below this one and itself, with their dotted names; each once if `remove_duplicate`."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """All modules below this one and itself."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one with their names; each once."""
        seen: set[Module] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one; each once."""
        for _, module in self.named_children():
            yield module

    def _named_members(
        self, which: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[Any] = set()
        modules: Iterable[tuple[str, Module]] = [(prefix, self)]
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        for path, module in modules:
            for name, member in module.__dict__[which].items():
                if member is not None and member not in seen:
                    if remove_duplicate:
                        seen.add(member)
                    yield f"{path}.{name}" if path else name, member

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; a shared one once, under its first name, if `remove_duplicate`."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once; those of this module alone if not `recurse`."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # ---------------------------------------------------------------- changing all of it
    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn` with every module below this one, children first, then with itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: M, fn: Callable[[Tensor], Tensor]) -> M:
        """Replace the data of parameters and their gradients, and the buffers, by `fn` of them.

        Parameters stay the same objects, so that optimizers keep them.
        """
        for module in self.children():
            module._apply(fn)
        with no_grad():
            for parameter in self._parameters.values():
                if parameter is not None:
                    parameter.data = fn(parameter)
                    if parameter._grad is not None:
                        parameter._grad.data = fn(parameter._grad)
            for name, buffer in self._buffers.items():
                if buffer is not None:
                    self._buffers[name] = fn(buffer)
        return self

    def to(self: M, *args: Any, **kwargs: Any) -> M:
        """Move to a device, convert to a floating point dtype, or both; takes what `Tensor.to` takes.

        The module is changed and returned. Integer parameters and buffers are moved but keep their dtype.
        """
        arguments = {**kwargs}
        for a in args:
            if isinstance(a, dtypes.dtype):
                arguments["dtype"] = a
            elif isinstance(a, Tensor):
                arguments.update(dtype=a.dtype, device=a.device)
            elif not isinstance(a, bool) and a is not None:
                arguments["device"] = a
        dtype = arguments.pop("dtype", None)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(
                "nn.Module.to only accepts floating point or complex dtypes, but got desired dtype=" + str(dtype)
            )
        return self._apply(lambda t: t.to(dtype=dtype if t.is_floating_point() else None, **arguments))

    def cpu(self: M) -> M:
        """Move to host memory."""
        return self.to(device="cpu")

    def cuda(self: M, device: Any = None) -> M:
        """Move to a GPU."""
        return self.to(device="cuda" if device is None else device)

    def float(self: M) -> M:
        """Convert to float32."""
        return self.to(dtypes.float32)

    def double(self: M) -> M:
        """Convert to float64."""
        return self.to(dtypes.float64)

    def half(self: M) -> M:
        """Convert to float16."""
        return self.to(dtypes.float16)

    def bfloat16(self: M) -> M:
        """Convert to bfloat16."""
        return self.to(dtypes.bfloat16)

    def train(self: M, mode: bool = True) -> M:
        """Set training mode, which tells layers such as Dropout what to do."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: M) -> M:
        """Leave training mode."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Set whether the parameters require grad."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of the parameters, or fill them with zeros."""
        zero_gradients(self.parameters(), set_to_none)

    # ---------------------------------------------------------------- state
    def _own_state(self) -> Iterator[tuple[str, Tensor]]:
        """This module's parameters and persistent buffers."""
        for name, parameter in self._parameters.items():
            if parameter is not None:
                yield name, parameter
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers_set:
                yield name, buffer

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """The parameters and persistent buffers by dotted name, sharing the module's memory.

        Args:
            destination: a dictionary to fill; a new `OrderedDict` by default.
            prefix: put before every name.
            keep_vars: the tensors themselves, instead of detached ones.
        """
        destination = OrderedDict() if destination is None else destination
        for name, tensor in self._own_state():
            destination[prefix + name] = tensor if keep_vars else tensor.detach()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy a state into the parameters and buffers, converting dtypes and moving between devices.

        If anything is wrong, the module stays as it was.

        Args:
            state_dict: tensors by dotted name, as `state_dict` gives them.
            strict: missing and unexpected names are errors.
            assign: put the given tensors in the place of the module's, instead of copying their values; optimizers
                must be made afterwards.

        Returns:
            The missing and the unexpected names.

        Raises:
            TypeError: `state_dict` is no mapping.
            RuntimeError: names (if `strict`) or shapes do not match, or values are no tensors; all are listed.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        match = StateMatch(self, dict(state_dict))
        match.check(type(self).__name__, strict)
        with no_grad():
            for module, name, value in match.found:
                module._load(name, value, assign)
        return match.keys

    def _load(self, name: str, value: Tensor, assign: bool) -> None:
        current = getattr(self, name)
        if not assign:
            current.copy_(value)
        elif isinstance(current, Parameter):
            # Assigned by value: the loaded tensor keeps its own requires_grad.
            setattr(self, name, Parameter(value, current.requires_grad))
        else:
            setattr(self, name, value)

    # ---------------------------------------------------------------- text
    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What `repr` shows of the module besides its children; one line, or several."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        if len(lines) == 1 and not self._modules:
            return f"{self._get_name()}({extra})"
        lines += [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        return block(self._get_name(), lines)


def _add_hook(hooks: OrderedDict[int, _Hook], hook: _Hook, prepend: bool) -> RemovableHandle:
    handle = register(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _check_leaf(name: str, parameter: Parameter) -> None:
    """ValueError if a parameter-to-be was computed from other tensors."""
    if parameter.grad_fn is not None:
        raise ValueError(
            f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. To "
            f"express '{name}' as a function of another Tensor, compute the value in the forward() method."
        )


def indented(text: str) -> str:
    """`text` with two spaces before every line but the first and the blank ones."""
    first, *rest = text.split("\n")
    return "\n".join([first, *("  " + line if line.strip() else "" for line in rest)])


def block(name: str, lines: list[str]) -> str:
    """`name(...)` with each entry on its own line."""
    return f"{name}(\n  " + "\n  ".join(lines) + "\n)" if lines else f"{name}()"
