"""Your own CUDA kernels as differentiable ops."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..autograd.api import grad
from ..autograd.grad_mode import enable_grad
from ..autograd.tape import apply, wrap
from ..autograd.variable import Variable
from ..backends import Array, backend_of, cpu
from ..backends.cpp.types import half_header, stored
from ..dtypes import dtype
from ..ops.core import Attrs, Op, Plan, make_function, one_backend, whole

__all__ = ["Launch", "kernel_op"]

Outputs = Mapping[str, tuple[Sequence[int], Any]]


class Launch(NamedTuple):
    """How a kernel is launched; a plain tuple does as well.

    `arguments` are those of the kernel, as CuPy takes them: arrays for pointers, None for a null pointer, and NumPy
    scalars of the parameters' types (`np.int32(n)`, `np.float32(scale)`) for numbers.
    """

    grid: int | tuple[int, ...]
    block: int | tuple[int, ...]
    arguments: Sequence[Any]
    shared_mem: int = 0


def kernel_op(
    source: str,
    forward: str,
    launch: Callable[..., Any],
    *,
    outputs: Callable[..., Outputs] | None = None,
    backward: str | None = None,
    launch_backward: Callable[..., Any] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Any]], Any]:
    """Make a differentiable op of CUDA C++ and of its definition in plain ops, the function that this decorates.

    The definition takes tensors as positional parameters, all else as keyword-only ones, and returns one tensor. It
    runs where the kernels cannot: on the CPU, for second derivatives, for dtypes that are not in `dtypes`, and for the
    gradient if there is no `backward`. So the op works everywhere, and `gradcheck` on a CUDA device, a real or the
    emulated one, checks the kernels against finite differences.

    The functions given here choose what they are told by the names of their parameters: those of the definition
    (C-contiguous device arrays, with `shape`, `dtype` and `size`, and the keyword-only values), and

    - `launch`: the outputs' names; returns a `Launch`, `(grid, block, arguments)`;
    - `launch_backward`: `g`, the gradient of the result; the outputs; `grad_NAME`, the gradient of an input, which the
      kernel is to write: an array of the input's shape and dtype, or None if nobody wants it.

    Arrays to be written are not initialised. Sources see a type for each array, `NAME_t` (`x_t`, `out_t`, `g_t`,
    `grad_x_t`), so that one text serves several dtypes, and may `#include` gradcore's own headers, such as "math.cuh".

    Args:
        source: CUDA C++ with the kernels, which are `extern "C"`.
        forward: the name of the forward kernel.
        launch: how it is launched.
        outputs: a function that returns, by name, the shape and dtype of what the forward kernel writes. The first is
            the op's result, the others are kept for the backward kernel. By default one, `out`, like the first input.
        backward: the name of the backward kernel.
        launch_backward: how that is launched.
        dtypes: by input, the dtype or dtypes that the kernels take. Required for inputs whose type the source does not
            take from `NAME_t`.
        name: of the op, in errors and in `grad_fn`; that of the definition by default.

    Raises:
        TypeError: for a function that asks for what there is not, and for an input whose dtype is left open.
        RuntimeError: when the op is first used, if the source does not compile.

    See `docs/custom_ops.md` for an example.
    """
    if (backward is None) != (launch_backward is None):
        raise TypeError("kernel_op(): backward and launch_backward go together")

    def declare(definition: Callable[..., Any]) -> Any:
        op = KernelOp(definition, name, source, outputs, dtypes or {})
        op.forward = _Kernel(op, forward, launch)
        if backward is not None and launch_backward is not None:
            op.backward = _Kernel(op, backward, launch_backward)
        function = make_function(op, op.name, _run)
        function.__module__, function.__qualname__ = definition.__module__, definition.__qualname__
        return function

    return declare


class _Kernel:
    """One kernel of an op: its name, and how it is launched."""

    def __init__(self, op: KernelOp, name: str, launch: Callable[..., Any]):
        self.op, self.name, self.launch = op, name, launch
        self.parameters = tuple(inspect.signature(launch).parameters)
        self.grads = [n.removeprefix("grad_") for n in self.parameters if n.startswith("grad_")]
        unknown = [n for n in self.grads if n not in op.inputs]
        if unknown:
            raise TypeError(
                f"{op.name}(): the launch of {name} asks for grad_{unknown[0]}; the inputs are {', '.join(op.inputs)}"
            )

    def __call__(self, backend: Any, types: Mapping[str, np.dtype], given: Mapping[str, Any]) -> None:
        """Launch it with what it asks for of `given`; `types` are the dtypes of inputs and outputs."""
        where = f"{self.op.name}(): the launch of {self.name}"
        for n in self.parameters:
            if n not in given:
                raise TypeError(f"{where} asks for {n!r}; there are {', '.join(given)}")
        result = self.launch(**{n: given[n] for n in self.parameters})
        if not isinstance(result, tuple) or not 3 <= len(result) <= 4:
            raise TypeError(f"{where} must return (grid, block, arguments), got {result!r}")
        grid, block, arguments, shared_mem = Launch(*result)
        kernel = self.op.compiled(backend, self.name, types)
        if shared_mem > _SHARED_WITHOUT_ASKING:
            kernel.max_dynamic_shared_size_bytes = shared_mem
        with backend.xp.cuda.Device(backend.index):
            kernel(_dimensions(grid), _dimensions(block), tuple(arguments), shared_mem=shared_mem)


_SHARED_WITHOUT_ASKING = 48 << 10


def _dimensions(given: int | tuple[int, ...]) -> tuple[int, ...]:
    return (int(given),) if isinstance(given, (int, np.integer)) else tuple(map(int, given))


class KernelOp(Op):
    """An op whose kernels are a user's, and whose definition in plain ops is the function given."""

    forward: _Kernel
    backward: _Kernel | None = None

    def __init__(
        self,
        definition: Callable[..., Any],
        name: str | None,
        source: str,
        outputs: Callable[..., Outputs] | None,
        accepted: Mapping[str, Any],
    ):
        super().__init__(definition, name)
        parameters = self.signature.parameters.values()
        for p in parameters:
            if p.kind not in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                raise TypeError(
                    f"kernel_op(): {self.name} has the parameter {p}; tensors are positional parameters with a name"
                )
        self.inputs = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
        if not self.inputs:
            raise TypeError(f"kernel_op(): {self.name} needs a positional parameter, for a tensor")
        self.composite = definition
        self.text = source
        self.outputs = outputs
        self.accepted = {n: _dtypes_of(given) for n, given in accepted.items()}
        for n in self.inputs:
            if n not in self.accepted and not re.search(rf"\b{n}_t\b", source):
                raise TypeError(
                    f"kernel_op(): what dtype does {self.name} take for {n!r}? Declare its elements as {n}_t in the "
                    f"source, or say so: dtypes={{{n!r}: gradcore.float32}}"
                )
        # What the forward kernel writes, in order.
        self.names: tuple[str, ...] = ()
        self._compiled: dict[Any, Any] = {}

    def compiled(self, backend: Any, kernel: str, types: Mapping[str, np.dtype]) -> Any:
        """A kernel of the source, for arrays of these dtypes."""
        key = (backend.index, kernel, *types.values())
        found = self._compiled.get(key)
        if found is None:
            every = {**types, "g": types[self.names[0]], **{f"grad_{n}": types[n] for n in self.inputs}}
            lines = "".join(f"typedef {stored(d)} {n}_t;\n" for n, d in every.items())
            text = f"{half_header(every.values())}{lines}{self.text}"
            (found,) = backend.compiler.kernels(text, (kernel,), self.name)
            self._compiled[key] = found
        return found

    def run(self, inputs: Sequence[Any], attrs: Attrs) -> Any:
        backend = one_backend(self.name, inputs, self.inputs)
        given = {**dict(zip(self.inputs, map(whole, inputs))), **attrs}
        wanted = _chosen(self.outputs, given) if self.outputs else {"out": (inputs[0].shape, inputs[0].dtype)}
        made = {n: backend.empty(tuple(shape), _numpy(d)) for n, (shape, d) in wanted.items()}
        self.names = tuple(made)
        results = tuple(made.values())
        if results[0].size:
            types = {n: a.dtype for n, a in zip((*self.inputs, *made), (*inputs, *results))}
            self.forward(backend, types, {**given, **made})
        return results if len(results) > 1 else results[0]

    def make_plan(self, needs: tuple[bool, ...], key: Any) -> Plan:
        # A definition that higher derivatives are taken of wants everything.
        positions = tuple(range(len(self.inputs)))
        kernel = self.backward
        if kernel is None or any(need and n not in kernel.grads for n, need in zip(self.inputs, needs)):
            return Plan(self, positions, (), lambda gs, saved, attrs, meta: self._derived(gs[0], saved, attrs, needs))
        kept = tuple(i for i, n in enumerate(self.names) if i or n in kernel.parameters)

        def backward(gs: Sequence[Any], saved: Sequence[Any], attrs: Attrs, meta: Any) -> Sequence[Any]:
            backend = backend_of(gs[0])
            arrays = dict(zip((*self.inputs, *(self.names[i] for i in kept)), map(whole, saved)))
            grads = {
                n: backend.empty(arrays[n].shape, arrays[n].dtype) if need and n in kernel.grads else None
                for n, need in zip(self.inputs, needs)
            }
            if gs[0].size:
                written = {f"grad_{n}": a for n, a in grads.items()}
                types = {n: arrays.get(n, gs[0]).dtype for n in (*self.inputs, *self.names)}
                kernel(backend, types, {**arrays, **attrs, "g": whole(gs[0]), **written})
            else:
                grads = {n: None if a is None else backend.full(a.shape, 0, a.dtype) for n, a in grads.items()}
            return list(grads.values())

        return Plan(self, positions, kept, backward)

    def _derived(self, g: Array, inputs: Sequence[Array], attrs: Attrs, needs: Sequence[bool]) -> list[Any]:
        """The gradients of the definition."""
        leaves = [wrap(a) for a in inputs]
        for leaf, need in zip(leaves, needs):
            leaf._requires_grad = need
        with enable_grad():
            result = self.function(*leaves, **attrs)
        wanted = [leaf for leaf, need in zip(leaves, needs) if need]
        found = iter(grad(result, wanted, wrap(g), allow_unused=True))
        arrays = [next(found) if need else None for need in needs]
        return [None if a is None else a._array for a in arrays]


def _run(op: Any, inputs: tuple[Any, ...], attrs: Attrs) -> Any:
    """The kernels where they can run, else the definition."""
    for position, (n, t) in enumerate(zip(op.inputs, inputs)):
        if not isinstance(t, Variable):
            raise TypeError(
                f"{op.name}(): argument '{n}' (position {position + 1}) must be Tensor, not {type(t).__name__}"
            )
    arrays = {n: t._array for n, t in zip(op.inputs, inputs)}
    if all(backend_of(a) is cpu for a in arrays.values()):
        return op.function(*inputs, **attrs)
    if any(a.dtype not in op.accepted.get(n, (a.dtype,)) for n, a in arrays.items()):
        return op.function(*inputs, **attrs)
    return apply(op, inputs, attrs)


def _chosen(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    return function(**{n: given[n] for n in inspect.signature(function).parameters})


def _numpy(given: Any) -> np.dtype:
    return given.numpy if isinstance(given, dtype) else np.dtype(given)


def _dtypes_of(given: Any) -> tuple[np.dtype, ...]:
    return tuple(map(_numpy, given if isinstance(given, (tuple, list)) else (given,)))
