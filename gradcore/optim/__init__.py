"""Optimizers and learning rate schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING as _TYPE_CHECKING

from .._lazy import lazily as _lazily
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop, Rprop
from .optimizer import Optimizer
from .sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]

if _TYPE_CHECKING:
    from . import lr_scheduler, swa_utils
    from .lbfgs import LBFGS
    from .muon import Muon

__getattr__ = _lazily(
    __name__, {"LBFGS": "lbfgs", "Muon": "muon", "lr_scheduler": "lr_scheduler", "swa_utils": "swa_utils"}
)
