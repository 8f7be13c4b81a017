"""`Tensor`: an array, its place in the graph, and everything that is not an op.

Methods and operators that are ops are added by `gradcore.tensor.methods`, from the registry.
"""

from __future__ import annotations

import copy
import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from .. import dtypes
from ..autograd import api
from ..autograd.grad_mode import mode
from ..autograd.hooks import RemovableHandle, register
from ..autograd.inplace import check_target
from ..autograd.tangents import tangent_of
from ..autograd.tape import apply, node_of, set_tensor_type, tell, wants_grad, wrap
from ..autograd.tracer import Tracer
from ..autograd.variable import AccumulateGrad, Extra, Variable, bare, bump, shown
from ..backends import backend_for, backend_of, cpu
from ..devices import device as Device
from ..formats import memory_format, preserve_format
from ..ops.convert import to_copy
from ..ops.dims import wrap_dim
from .exchange import Exchange
from .printing import repr_of
from .size import Size

if TYPE_CHECKING:
    from typing_extensions import Self


class Tensor(Exchange):
    """A multi-dimensional array on a device, with gradients.

    Make one with `gradcore.tensor`, `gradcore.zeros`, ... It behaves as `torch.Tensor`.
    """

    # NumPy scalars and arrays leave `array + tensor` to us.
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __new__(cls, *args: Any) -> Self:
        from .creation import tensor, zeros

        if not args:
            made = tensor([])
        elif len(args) == 1 and isinstance(args[0], Tensor):
            made = args[0].detach()
        elif all(isinstance(a, int) for a in args):
            made = zeros(*args)
        else:
            made = tensor(*args, dtype=dtypes.get_default_dtype())
        return bare(cls, made._array)

    @classmethod
    def __gradcore_op__(cls, op: Any, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """Ops called on tensors come here."""
        return apply(op, inputs, attrs)

    # -- what it is
    @property
    def shape(self) -> Size:
        return tuple.__new__(Size, self._array.shape)

    @overload
    def size(self, dim: None = None) -> Size: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        if dim is None:
            return Size(self._array.shape)
        return self._array.shape[wrap_dim(dim, self._array.ndim)]

    @property
    def ndim(self) -> int:
        return self._array.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    nelement = numel

    @property
    def dtype(self) -> dtypes.dtype:
        return dtypes.from_numpy(self._array.dtype)

    @property
    def device(self) -> Device:
        return backend_of(self._array).device

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def itemsize(self) -> int:
        return int(self._array.itemsize)

    def element_size(self) -> int:
        """The bytes of one element."""
        return int(self._array.itemsize)

    @property
    def nbytes(self) -> int:
        return int(self._array.nbytes)

    @overload
    def stride(self, dim: None = None) -> tuple[int, ...]: ...
    @overload
    def stride(self, dim: int) -> int: ...
    def stride(self, dim: int | None = None) -> Any:
        """The strides in elements, or that of one dimension."""
        array = self._array
        strides = tuple(s // array.itemsize for s in array.strides)
        if not array.size:  # NumPy leaves these open
            strides = tuple(math.prod(max(n, 1) for n in array.shape[i + 1 :]) for i in range(array.ndim))
        return strides if dim is None else strides[wrap_dim(dim, array.ndim)]

    @property
    def T(self) -> Tensor:
        """The tensor with its dimensions reversed."""
        return self.permute(tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Tensor:
        """The tensor with its last two dimensions swapped."""
        return self.transpose(-2, -1)

    def is_contiguous(self) -> bool:
        """Whether the elements lie in memory in C order, without gaps."""
        array = self._array
        if isinstance(array, Tracer):
            steps = [math.prod(array.shape[i + 1 :]) for i in range(array.ndim)]
            return all(n == 1 or a == b for n, a, b in zip(array.shape, self.stride(), steps))
        return bool(array.flags.c_contiguous)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating point one."""
        return self.dtype.is_floating_point

    # -- autograd
    @property
    def requires_grad(self) -> bool:
        return wants_grad(self)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise RuntimeError("requires_grad must be a bool")
        if value and not self.is_leaf:
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        self._set_requires_grad(value, "only Tensors of floating point and complex dtype can require gradients")

    @requires_grad.deleter
    def requires_grad(self) -> None:
        raise RuntimeError("requires_grad must be a bool")

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Record operations on this tensor from now on (or no longer)."""
        if not isinstance(requires_grad, bool):
            raise TypeError(
                "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
                f"{type(requires_grad).__name__}"
            )
        if requires_grad and mode.levels:
            raise RuntimeError(
                "You are attempting to call Tensor.requires_grad_() (or perhaps using gradcore.autograd.functional.* "
                "APIs) inside of a function being transformed by a functorch transform. This is unsupported, please "
                "attempt to use the functorch transforms (e.g. grad, vjp, jacrev, jacfwd, hessian) or call "
                "requires_grad_() outside of a function being transformed instead."
            )
        self._set_requires_grad(requires_grad, "only Tensors of floating point dtype can require gradients")
        return self

    def _set_requires_grad(self, value: bool, message: str) -> None:
        if not self.is_leaf:
            if not value:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable "
                    "in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
                )
            return
        if value and not self.dtype.is_floating_point:
            raise RuntimeError(message)
        if value and self.is_inference() and not mode.inference:
            raise RuntimeError("Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.")
        self._requires_grad = value

    @property
    def grad_fn(self) -> Any:
        """The node that made this tensor; None for leaves."""
        return shown(node_of(self))

    @property
    def is_leaf(self) -> bool:
        return node_of(self) is None

    @property
    def output_nr(self) -> int:
        return self._index

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` has added up, or None."""
        if self._node is not None and self._requires_grad and self._grad is None and not self.retains_grad:
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute "
                "won't be populated during autograd.backward(). If you indeed want the .grad field to be populated for "
                "a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by "
                "mistake, make sure you access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for "
                "more information.",
                UserWarning,
                stacklevel=2,
            )
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, Variable):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value._array.shape)}' to a tensor of size "
                    f"'{list(self._array.shape)}'. Please ensure that the gradient and the tensor are the same size"
                )
            if value._array.dtype != self._array.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{dtypes.type_name(value._array.dtype)}' to a tensor "
                    f"with dtype '{dtypes.type_name(self._array.dtype)}'. Please ensure that the gradient and the "
                    "tensor have the same dtype"
                )
            if backend_of(value._array) is not backend_of(self._array):
                raise RuntimeError(
                    f"attempting to assign a gradient located on device '{backend_of(value._array).device}' to a "
                    f"tensor located on device '{backend_of(self._array).device}'. Please move one with .to()"
                )
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def backward(
        self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        """Add the gradient of this tensor to the `.grad` of the leaves below it; see `autograd.backward`."""
        api.backward(self, gradient, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """The same values and memory, without history."""
        array = self._array
        out: Tensor = wrap(array.detached() if isinstance(array, Tracer) else array)
        out._counter = self.counter()
        tell(None, (self,), {}, (out,))
        return out

    def detach_(self) -> Self:
        """Drop this tensor's history."""
        if self._base is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._index, self._requires_grad = None, 0, False
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without history, and without the version counter: changes through it go unnoticed."""
        if isinstance(self._array, Tracer):
            raise RuntimeError("accessing `data` under vmap transform is not allowed")
        out: Tensor = wrap(self._array)
        if self.is_inference():
            out._counter = self._counter
        tell(None, (self,), {}, (out,))
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Variable):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and not dtypes.from_numpy(value._array.dtype).is_floating_point:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype")
        self._array, self._spec = value._array, None

    @data.deleter
    def data(self) -> None:
        raise RuntimeError("Deleting tensor data is not allowed. Delete tensor instead!")

    def set_(self, source: Tensor | None = None) -> Self:
        """Show the memory of `source`, of the same dtype, from now on; none at all without `source`.

        Unlike setting `.data` this is a change in place: it counts in the version, and leaves that require grad refuse.
        """
        check_target(self)
        backend = backend_of(self._array)
        array = backend.empty((0,), self._array.dtype) if source is None else source._array
        if array.dtype != self._array.dtype or backend_of(array) is not backend:
            raise RuntimeError(
                f"Could not set tensor of type {dtypes.type_name(array.dtype)} to a tensor of type "
                f"{dtypes.type_name(self._array.dtype)}"
                + ("" if backend_of(array) is backend else f": one is on {backend.device}, the other is not")
            )
        self._array, self._spec = array, None
        bump(self.counter())
        return self

    def retain_grad(self) -> None:
        """Fill `.grad` of this tensor too, which is not a leaf."""
        if not wants_grad(self):
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self.is_leaf:
            self._more().retained[self._index] = weakref.ref(self)

    @property
    def retains_grad(self) -> bool:
        node = self._node
        if node is None or node.extra is None:
            return False
        reference = node.extra.retained.get(self._index)
        return reference is not None and reference() is self

    def _more(self) -> Extra:
        node = node_of(self)
        assert node is not None
        return node.more()

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call `hook(grad)` when the gradient of this tensor is computed; what it returns replaces the gradient."""
        if not wants_grad(self):
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            hooks = self._more().hooks.setdefault(self._index, {})
        else:
            if self._hooks is None:
                self._hooks = {}
            hooks = self._hooks
        return register(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call `hook(self)` after a gradient has been added to this leaf's `.grad`."""
        if not wants_grad(self):
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        return register(AccumulateGrad.of(self).more().accumulated, hook)

    @property
    def _version(self) -> int:
        if self.is_inference():
            raise RuntimeError("Inference tensors do not track version counter.")
        return self._counter[1] if self._counter is not None else 0

    def _is_view(self) -> bool:
        return self._base is not None or self._severed is not None

    # -- values
    def _host(self, what: str = "data") -> np.ndarray:
        """The values on the host, where they are wanted as an `"item"`, a `"bool"`, or as they are."""
        array = self._array
        return array.host(what) if isinstance(array, Tracer) else backend_of(array).to_host(array)

    def item(self) -> Any:
        """The value of a tensor of one element, as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(f"a Tensor with {self._array.size} elements cannot be converted to Scalar")
        return self._value("item")

    def _value(self, what: str) -> Any:
        value = self._host(what).reshape(())[()]
        return float(value) if value.dtype.kind == "V" else value.item()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers; a number for a zero-dimensional tensor."""
        host = self._host()
        return (host.astype(np.float32) if host.dtype.kind == "V" else host).tolist()

    def __bool__(self) -> bool:
        if self._array.size != 1:
            what = "no values" if self._array.size == 0 else "more than one value"
            raise RuntimeError(f"Boolean value of Tensor with {what} is ambiguous")
        return bool(self._value("bool"))

    def __pos__(self) -> Tensor:
        return self

    def _number(self) -> Any:
        if self._array.size != 1:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.item()

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iub" or self._array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return int(self._array.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if self._array.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(self._array.shape[0])])

    def __contains__(self, value: Any) -> bool:
        if not isinstance(value, (Variable, bool, int, float, np.generic)):
            raise RuntimeError(
                f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(value)}."
            )
        return bool((self == value).any())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self._array.ndim == 0 else object.__format__(self, spec)

    def __repr__(self) -> str:
        node = node_of(self)
        if isinstance(self._array, Tracer):
            return self._array.describe()
        return repr_of(
            self._host(),
            device=self.device,
            requires_grad=self._requires_grad,
            grad_fn_name=None if node is None else node.name(),
            tangent=None if mode.dual is None else tangent_of(self),
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
                "moment.  If you were attempting to deepcopy a module, this may be because of a "
                "gradcore.nn.utils.weight_norm usage, see https://github.com/pytorch/pytorch/pull/103001"
            )
        if id(self) in memo:
            return memo[id(self)]
        if isinstance(self._array, Tracer):
            self._array.host("data")
        out = bare(type(self), backend_of(self._array).xp.array(self._array, order="K", copy=True))
        memo[id(self)] = out
        out._requires_grad = self._requires_grad
        if self._grad is not None:
            out._grad = self._grad.__deepcopy__(memo)
        vars(out).update(copy.deepcopy(self._attributes(), memo))
        return out

    def __copy__(self) -> Tensor:
        out = bare(type(self), self._array)
        out._requires_grad = wants_grad(self)
        vars(out).update(self._attributes())
        return out

    def __reduce_ex__(self, protocol: Any) -> Any:
        for hook in (self._hooks or {}).values():
            if not getattr(hook, "__gradcore_unserializable__", False):
                warnings.warn(
                    f"backward hook {hook!r} on tensor will not be serialized.  If this is expected, you can decorate "
                    "the function with @gradcore.utils.hooks.unserializable_hook to suppress this warning",
                    UserWarning,
                    stacklevel=2,
                )
        host = self._host()
        made = (type(self), np.array(host, order="K"), str(self.device), wants_grad(self))
        attributes = self._attributes()
        return (_rebuild, made, attributes) if attributes else (_rebuild, made)

    def _attributes(self) -> dict[str, Any]:
        """What a user has set on this tensor."""
        return {name: value for name, value in vars(self).items() if name not in _OWN}

    # -- elsewhere
    def to(
        self,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        non_blocking: bool = False,
        copy: bool = False,
        memory_format: memory_format = preserve_format,
    ) -> Tensor:
        """The tensor on another device, as another dtype, or both: `to("cuda")`, `to(gradcore.float64)`, `to(other)`.

        `to(device, dtype, non_blocking, copy)`, `to(dtype, non_blocking, copy)` and `to(other, non_blocking, copy)`
        are understood; transfers always block. Returns the tensor itself if nothing changes and `copy` is False.
        """
        flags = [a for a in args if isinstance(a, bool)]
        if len(flags) > 1:
            copy = flags[1]
        for a in args:
            if isinstance(a, (dtypes.dtype, type)):
                dtype = a
            elif isinstance(a, Tensor):
                dtype, device = a.dtype, a.device
            elif isinstance(a, (str, Device, int)) and not isinstance(a, bool):
                device = a
            elif a is not None and not isinstance(a, bool):
                raise TypeError(
                    f"to() received an invalid argument of type {type(a).__name__}: expected a dtype, a device "
                    "or a Tensor"
                )
        dtype = dtypes.given("to", dtype)
        target = None if device is None else Device(device)
        same_device = target is None or backend_for(target) is backend_of(self._array)
        if memory_format is not preserve_format:
            return self.to(dtype=dtype, device=device, copy=copy).contiguous(memory_format)
        if same_device and (dtype is None or dtype is self.dtype) and not copy:
            return self
        return apply(to_copy, (self,), {"dtype": dtype, "device": None if same_device else target})

    def cpu(self) -> Tensor:
        """The tensor in host memory."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None) -> Tensor:
        """The tensor on a GPU."""
        return self.to(device="cuda" if device is None else device)

    @overload
    def type(self, dtype: None = None) -> str: ...
    @overload
    def type(self, dtype: dtypes.dtype) -> Tensor: ...
    def type(self, dtype: Any = None) -> Any:
        """The name of the type, or the tensor converted to `dtype`."""
        if dtype is None:
            where = "cuda." if self.is_cuda else ""
            return f"gradcore.{where}{dtypes.type_name(self._array.dtype)}Tensor"
        if isinstance(dtype, str):
            found = dtypes.of_type_name(dtype)
            return self.to("cuda" if ".cuda." in dtype else "cpu", found)
        return self.to(dtype)

    def type_as(self, other: Tensor) -> Tensor:
        """The tensor as the dtype and on the device of `other`."""
        return self.to(other)


def _rebuild(cls: Any, host: np.ndarray, device: str, requires_grad: bool) -> Tensor:
    backend = backend_for(Device(device))
    out = bare(cls, host if backend is cpu else backend.from_host(host))  # (`host` is nobody else's)
    if requires_grad:
        out._requires_grad = True
    return out


_OWN = frozenset(Variable.__annotations__)

set_tensor_type(Tensor)
