"""Convolution and attention by cuDNN, through the graphs of nvidia-cudnn-frontend.

A graph of one operation is built for each combination of shapes, types and settings, and kept: planning one
takes up to half a second. Every method returns None where cuDNN is not installed, is turned off
(`gradcore.backends.cudnn.enabled`), or does not do what is asked; what it refuses or fails at is told once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from .. import cudnn as settings
from ..attention import AttentionInputs
from ..base import Array
from ..cpp.types import FLOAT32, HALVES
from ..sliding import Sliding
from . import libraries

_TYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}
# Graphs that are kept.
_MOST_PLANNED = 1024


class _Planned(NamedTuple):
    graph: Any
    workspace: int


def padding(sliding: Sliding, size: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, ...] | None:
    """The padding at the ends with which cuDNN finds `out` places in `size`, or None if there is none."""
    ends = []
    for n, o, kernel, stride, begin, dilation in zip(
        size, out, sliding.kernel, sliding.stride, sliding.padding, sliding.dilation
    ):
        extent = (kernel - 1) * dilation + 1
        needed = max(0, (o - 1) * stride + extent - n - begin)
        fitting = [end for end in (begin, needed) if (n + begin + end - extent) // stride + 1 == o]
        if not fitting:
            return None
        ends.append(fitting[0])
    return tuple(ends)


def describe(
    library: Any, graph: Any, operation: str, inputs: dict[str, Array], outputs: Sequence[Array], attributes: dict
) -> None:
    """Make `graph` one operation on C-contiguous arrays: the inputs have the uids from 1 on, then come the outputs."""

    def layout(x: Array) -> tuple[list[int], list[int], Any]:
        # An array says anything of the strides of dimensions of size 1; cuDNN looks at them.
        strides = [prod(x.shape[d + 1 :]) for d in range(x.ndim)]
        return list(x.shape), strides, getattr(library.data_type, _TYPES[x.dtype.name])

    tensors = {}
    for uid, (name, x) in enumerate(inputs.items(), 1):
        dim, stride, kind = layout(x)
        tensors[name] = graph.tensor(dim=dim, stride=stride, data_type=kind, name=name)
        tensors[name].set_uid(uid)
    found = getattr(graph, operation)(**tensors, **attributes)
    results = found if isinstance(found, (list, tuple)) else [found]
    for uid, (tensor, x) in enumerate(zip(results, outputs), len(inputs) + 1):
        dim, stride, kind = layout(x)
        tensor.set_output(True).set_data_type(kind).set_dim(dim).set_stride(stride).set_uid(uid)


class Cudnn:
    """cuDNN on one device, on the current stream, with its workspace from the memory pool."""

    def __init__(self, xp: Any):
        self._xp = xp
        self._library: Any = None
        self._handle: Any = None
        self._asked = False
        self._planned: dict[Any, _Planned | None] = {}
        self._lock = Lock()  # a handle is for one thread at a time

    # -- convolution; see `Backend.convolution` and its neighbours
    def convolution(self, x: Array, weight: Array, sliding: Sliding, out: tuple[int, ...]) -> Array | None:
        shape = (x.shape[0], weight.shape[0], *out)
        return self._convolution("conv_fprop", {"image": x, "weight": weight}, shape, sliding, x.shape[2:], out)

    def convolution_input(
        self, grad: Array, weight: Array, sliding: Sliding, size: tuple[int, ...], groups: int
    ) -> Array | None:
        shape = (grad.shape[0], weight.shape[1] * groups, *size)
        return self._convolution("conv_dgrad", {"loss": grad, "filter": weight}, shape, sliding, size, grad.shape[2:])

    def convolution_weight(self, grad: Array, x: Array, sliding: Sliding, groups: int) -> Array | None:
        shape = (grad.shape[1], x.shape[1] // groups, *sliding.kernel)
        operands = {"image": x, "loss": grad}
        return self._convolution("conv_wgrad", operands, shape, sliding, x.shape[2:], grad.shape[2:])

    def _convolution(
        self,
        operation: str,
        inputs: dict[str, Array],
        shape: tuple[int, ...],
        sliding: Sliding,
        size: tuple[int, ...],
        out: tuple[int, ...],
    ) -> Array | None:
        dtype = next(iter(inputs.values())).dtype
        ends = padding(sliding, size, out)
        if ends is None or dtype.name not in _TYPES or not self._ready():
            return None
        # cuDNN knows two and three spatial dimensions.
        more = (1,) * (2 - len(size))
        result = self._xp.empty(shape, dtype)
        attributes = {
            "pre_padding": [*(0 for _ in more), *sliding.padding],
            "post_padding": [*(0 for _ in more), *ends],
            "stride": [*more, *sliding.stride],
            "dilation": [*more, *sliding.dilation],
        }
        whole = {name: x if x.flags.c_contiguous else x.copy() for name, x in inputs.items()}
        in_space = {name: x.reshape(*x.shape[:2], *more, *x.shape[2:]) for name, x in whole.items()}
        view = result.reshape(*shape[:2], *more, *shape[2:])
        return result if self._run(operation, in_space, [view], attributes) else None

    # -- attention; see `Backend.attention`
    def attention(self, given: AttentionInputs) -> tuple[Array, Array] | None:
        if not self._attends(given):
            return None
        query, value = given.query, given.value
        out = self._xp.empty((*query.shape[:2], value.shape[2]), query.dtype)
        lse = self._xp.empty(query.shape[:2], FLOAT32)
        inputs = {"q": query[None], "k": given.key[None], "v": value[None]}
        attributes = {"is_inference": False, "attn_scale": given.scale, "use_causal_mask": given.causal}
        return (out, lse) if self._run("sdpa", inputs, [out[None], lse[None, :, :, None]], attributes) else None

    def attention_backward(
        self, grad: Array, given: AttentionInputs, out: Array, lse: Array
    ) -> tuple[Array, Array, Array] | None:
        if not self._attends(given):
            return None
        query, key, value = given[:3]
        dq, dk, dv = (self._xp.empty(x.shape, x.dtype) for x in (query, key, value))
        inputs = {"q": query[None], "k": key[None], "v": value[None], "o": out[None], "dO": grad[None]}
        inputs["stats"] = lse[None, :, :, None]
        attributes = {
            "attn_scale": given.scale,
            "use_causal_mask": given.causal,
            "use_deterministic_algorithm": settings.deterministic,
        }
        done = self._run("sdpa_backward", inputs, [dq[None], dk[None], dv[None]], attributes)
        return (dq, dk, dv) if done else None

    def _attends(self, given: AttentionInputs) -> bool:
        """Whether cuDNN is asked: not where random numbers are our own, or heads of queries share one of keys.

        A row whose keys are all masked is 0 here, which cuDNN does not promise: masks are left to the other kernel.
        """
        query, key, value, mask, _, _, dropout = given
        fits = query.dtype in HALVES and query.shape[2] % 8 == value.shape[2] % 8 == 0
        plain = mask is None and dropout is None and query.shape[0] == key.shape[0]
        return fits and plain and bool(query.size and value.size) and self._ready()

    # -- graphs
    def _ready(self) -> bool:
        """Whether cuDNN is wanted, and there."""
        if not settings.enabled:
            return False
        if not self._asked:
            self._asked = True
            library = libraries.cudnn()
            if library is not None:
                try:
                    self._handle = library.create_handle()
                    self._library = library
                except Exception as error:
                    libraries.fall_back("cuDNN cannot be used", error)
        return self._library is not None

    def _run(self, operation: str, inputs: dict[str, Array], outputs: Sequence[Array], attributes: dict) -> bool:
        """Execute one operation; False if cuDNN does not."""
        arrays = (*inputs.values(), *outputs)
        layouts = tuple((x.shape, x.dtype) for x in arrays)
        chosen = tuple(tuple(v) if isinstance(v, list) else v for v in attributes.values())
        key = (operation, layouts, chosen, settings.allow_tf32, settings.deterministic)
        with self._lock:
            try:
                if key not in self._planned:
                    if len(self._planned) == _MOST_PLANNED:
                        self._planned.clear()
                    self._planned[key] = self._plan(operation, inputs, outputs, attributes)
                planned = self._planned[key]
                if planned is not None:
                    self._execute(planned, arrays)
            except MemoryError:
                raise
            except Exception as error:
                shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items())
                libraries.fall_back(f"cuDNN refuses {operation}", f"{shapes} of {arrays[0].dtype.name}: {error}")
                planned = self._planned[key] = None
        return planned is not None

    def _execute(self, planned: _Planned, arrays: Sequence[Array]) -> None:
        workspace = self._xp.empty((max(planned.workspace, 1),), np.uint8)
        self._library.set_stream(self._handle, self._xp.cuda.get_current_stream().ptr)
        addresses = {uid: x.data.ptr for uid, x in enumerate(arrays, 1)}
        planned.graph.execute(addresses, workspace.data.ptr, handle=self._handle)

    def _plan(self, operation: str, inputs: dict[str, Array], outputs: Sequence[Array], attributes: dict) -> _Planned:
        library, dtype = self._library, outputs[0].dtype
        compute = library.data_type.DOUBLE if dtype.itemsize == 8 else library.data_type.FLOAT
        graph = library.pygraph(intermediate_data_type=compute, compute_data_type=compute, handle=self._handle)
        describe(library, graph, operation, inputs, outputs, attributes)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([library.heur_mode.A, library.heur_mode.FALLBACK])
        notes = library.numerical_note
        refused = [notes.DOWN_CONVERT_INPUTS]
        if settings.deterministic:
            refused.append(notes.NONDETERMINISTIC)
        if dtype == FLOAT32 and not settings.allow_tf32:
            refused.append(notes.TENSOR_CORE)
        graph.deselect_numeric_notes(refused)
        graph.check_support()
        graph.build_plans()
        return _Planned(graph, int(graph.get_workspace_size()))
