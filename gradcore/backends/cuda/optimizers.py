"""Optimizer steps over all parameters in one launch for each combination of dtypes: kernels/sgd.cu and adam.cu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base import Array
from ..cpp import sources
from ..cpp.types import computed, half_header, scalar, stored, wide
from .compiler import Compiler
from .layout import vector_width

CHUNK = 8192
_BLOCK = 256
# Address tables are small, but gradients that move at every step would fill memory with them.
_MOST_TABLES = 64


class Optimizers:
    """Runs optimizer steps on one device's arrays."""

    def __init__(self, xp: Any, compiler: Compiler):
        self._xp = xp
        self._compiler = compiler
        self._kernels: dict[Any, Any] = {}
        self._addresses: dict[tuple[int, ...], Array] = {}
        self._chunks: dict[tuple[int, ...], tuple[Array, int]] = {}

    def sgd(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        momenta: Sequence[Array] | None,
        *,
        lr: float,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
        maximize: bool,
        first: bool,
    ) -> None:
        """See `Backend.sgd_step`."""
        settings = f"constexpr bool MOMENTUM = {'false' if momenta is None else 'true'};\n"
        numbers = (lr, momentum, 1 - dampening, weight_decay, -1.0 if maximize else 1.0)
        flags = (np.bool_(nesterov), np.bool_(first))
        self._step("sgd", settings, [params, grads] + ([] if momenta is None else [momenta]), numbers, flags)

    def adam(
        self,
        params: Sequence[Array],
        grads: Sequence[Array],
        exp_avgs: Sequence[Array],
        exp_avg_sqs: Sequence[Array],
        max_exp_avg_sqs: Sequence[Array] | None,
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
        decoupled: bool,
        maximize: bool,
        step: int,
    ) -> None:
        """See `Backend.adam_step`."""
        settings = f"constexpr bool AMSGRAD = {'false' if max_exp_avg_sqs is None else 'true'};\n"
        numbers = (
            *(lr / (1 - beta1**step), 1 - beta1, beta2, 1 - beta2, (1 - beta2**step) ** 0.5, eps),
            *((0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)),
            -1.0 if maximize else 1.0,
        )
        kinds = [params, grads, exp_avgs, exp_avg_sqs] + ([] if max_exp_avg_sqs is None else [max_exp_avg_sqs])
        self._step("adam", settings, kinds, numbers, ())

    def _step(
        self,
        name: str,
        settings: str,
        kinds: Sequence[Sequence[Array]],
        numbers: Sequence[float],
        flags: Sequence[Any],
    ) -> None:
        groups: dict[tuple[np.dtype, ...], list[tuple[Array, ...]]] = {}
        scattered: list[tuple[Array, Array]] = []  # arrays that are not contiguous, and their contiguous copies
        for arrays in zip(*kinds):
            if arrays[0].size == 0:
                continue
            if not all(a.flags.c_contiguous for a in arrays):
                whole = tuple(self._xp.ascontiguousarray(a) for a in arrays)
                scattered += [(a, w) for i, (a, w) in enumerate(zip(arrays, whole)) if a is not w and i != 1]
                arrays = whole
            groups.setdefault(tuple(a.dtype for a in arrays[:3]), []).append(arrays)
        for dtypes, tensors in groups.items():
            kernel, ctype = self._kernel(name, settings, dtypes)
            chunks, blocks = self._chunk_table(tuple(arrays[0].size for arrays in tensors))
            tables = (self._address_table(tensors), chunks, np.int32(len(tensors)))
            kernel((blocks,), (_BLOCK,), (*tables, *map(scalar(ctype), numbers), *flags))
        for array, copy in scattered:
            array[...] = copy

    def _kernel(self, name: str, settings: str, dtypes: tuple[np.dtype, ...]) -> tuple[Any, str]:
        param, grad = dtypes[:2]
        state = dtypes[2] if len(dtypes) > 2 else param
        key = (name, settings, param, grad, state)
        found = self._kernels.get(key)
        if found is None:
            ctype = computed(wide(param))
            width = vector_width(max(d.itemsize for d in dtypes))
            prologue = (
                half_header(dtypes)
                + settings
                + f"typedef {stored(param)} P;\ntypedef {stored(grad)} G;\ntypedef {stored(state)} S;\n"
                + f"typedef {ctype} A;\nconstexpr int VEC = {width}, CHUNK = {CHUNK};\n"
            )
            subject = f"the {name} step of {param.name} parameters"
            (kernel,) = self._compiler.kernels(prologue + sources.read(f"{name}.cu"), (name,), subject)
            found = self._kernels[key] = (kernel, ctype)
        return found

    def _address_table(self, tensors: Sequence[tuple[Array, ...]]) -> Array:
        """Where the tensors lie, kind by kind, on the device."""
        key = tuple([array.data.ptr for arrays in zip(*tensors) for array in arrays])
        table = self._addresses.get(key)
        if table is None:
            if len(self._addresses) >= _MOST_TABLES:
                self._addresses.clear()
            table = self._addresses[key] = self._xp.asarray(np.array(key, np.uint64))
        return table

    def _chunk_table(self, sizes: tuple[int, ...]) -> tuple[Array, int]:
        """The tensors' sizes and the blocks' (tensor, first element) on the device, and the number of blocks."""
        found = self._chunks.get(sizes)
        if found is None:
            counts = -(-np.array(sizes) // CHUNK)
            tensor = np.repeat(np.arange(len(sizes)), counts)
            first = np.arange(tensor.size) - np.repeat(np.cumsum(counts) - counts, counts)
            words = np.concatenate([sizes, np.stack([tensor, first * CHUNK], 1).ravel()])
            found = self._chunks[sizes] = (self._xp.asarray(words.astype(np.int64)), tensor.size)
        return found
