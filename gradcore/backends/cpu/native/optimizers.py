"""The optimizers' updates by native kernels: kernels/host/sgd.cpp and adam.cpp."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...base import Array
from ..backend import CpuBackend
from ..threads import parallel
from .calls import GRAIN, kernels


@functools.cache
def _kernels(name: str, dtype: np.dtype) -> SimpleNamespace | None:
    return kernels(f"{name}.cpp", ("total", name), dtype)


def _update(name: str, lists: tuple[Sequence[Array], ...], *numbers: Any) -> bool:
    """Run an optimizer's kernel over lists of arrays; False, and nothing is changed, if it does not take them."""
    if not lists[0]:
        return True
    native = _kernels(name, lists[0][0].dtype)
    if native is None:
        return False
    total = native.total.short(lists)
    if total < 0:
        return False
    kernel = getattr(native, name)
    if total < GRAIN:
        kernel.short(lists, 0, total, *numbers)
    else:
        parallel(lambda begin, end: kernel.long(lists, begin, end, *numbers), total, GRAIN)
    return True


class NativeOptimizers(CpuBackend):
    """SGD and Adam by native kernels, for any number of parameters in one call."""

    def sgd_step(
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
        lists = (params, grads) if momenta is None else (params, grads, momenta)
        sign = -1.0 if maximize else 1.0
        if not _update("sgd", lists, lr, momentum, 1 - dampening, weight_decay, sign, bool(nesterov), first):
            super().sgd_step(
                params,
                grads,
                momenta,
                lr=lr,
                momentum=momentum,
                dampening=dampening,
                weight_decay=weight_decay,
                nesterov=nesterov,
                maximize=maximize,
                first=first,
            )

    def adam_step(
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
        lists: tuple[Sequence[Array], ...] = (params, grads, exp_avgs, exp_avg_sqs)
        if max_exp_avg_sqs is not None:
            lists += (max_exp_avg_sqs,)
        root = (1 - beta2**step) ** 0.5
        decay, shrink = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
        numbers = (lr / (1 - beta1**step) * root, 1 - beta1, beta2, 1 - beta2, eps * root, decay, shrink)
        if not _update("adam", lists, *numbers, -1.0 if maximize else 1.0):
            super().adam_step(
                params,
                grads,
                exp_avgs,
                exp_avg_sqs,
                max_exp_avg_sqs,
                lr=lr,
                beta1=beta1,
                beta2=beta2,
                eps=eps,
                weight_decay=weight_decay,
                decoupled=decoupled,
                maximize=maximize,
                step=step,
            )
