"""The optimizers with their options, and the updates that they give to a backend."""

from __future__ import annotations

from typing import Any

import gradcore as gc

OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd decay": ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.9}),
    "sgd dampening": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    "sgd nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    "sgd maximize": ("SGD", {"lr": 0.01, "momentum": 0.8, "maximize": True, "weight_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.05}),
    "adam betas": ("Adam", {"lr": 0.05, "betas": (0.3, 0.6), "eps": 1e-2}),
    "adam decay": ("Adam", {"lr": 0.05, "weight_decay": 0.1}),
    "adam amsgrad": ("Adam", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.1}),
    "adam maximize": ("Adam", {"lr": 0.05, "maximize": True}),
    "adam decoupled": ("Adam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "adamw": ("AdamW", {"lr": 0.05}),
    "adamw amsgrad": ("AdamW", {"lr": 0.05, "amsgrad": True, "weight_decay": 0.3, "maximize": True}),
    "nadam": ("NAdam", {"lr": 0.05}),
    "nadam decay": ("NAdam", {"lr": 0.05, "momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    "nadam decoupled": ("NAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "radam": ("RAdam", {"lr": 0.05}),
    "radam betas": ("RAdam", {"lr": 0.05, "betas": (0.5, 0.7), "weight_decay": 0.1, "eps": 1e-2}),
    "radam decoupled": ("RAdam", {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    "adamax": ("Adamax", {"lr": 0.05}),
    "adamax decay": ("Adamax", {"lr": 0.05, "betas": (0.3, 0.6), "weight_decay": 0.1, "maximize": True}),
    "rmsprop": ("RMSprop", {"lr": 0.05}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "alpha": 0.8}),
    "rmsprop centered": ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "maximize": True, "eps": 0.1}),
    "adagrad": ("Adagrad", {"lr": 0.05}),
    "adagrad decay": ("Adagrad", {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5}),
    "rprop": ("Rprop", {"lr": 0.05}),
    "rprop limits": ("Rprop", {"lr": 0.05, "etas": (0.3, 1.5), "step_sizes": (1e-2, 0.2), "maximize": True}),
    "adadelta": ("Adadelta", {"lr": 0.5}),
    "adadelta decay": ("Adadelta", {"lr": 0.5, "rho": 0.5, "eps": 1e-2, "weight_decay": 0.1, "maximize": True}),
}


def update_of(name: str, step: int = 3) -> tuple[Any, list[bool], dict[str, Any]]:
    """The update of an optimizer, which columns of state it has, and its settings in step `step`."""
    kind, options = OPTIMIZERS[name]
    p = gc.zeros(1, requires_grad=True)
    optimizer = getattr(gc.optim, kind)([p], **options)
    (group,) = optimizer.param_groups
    buffers = optimizer._buffers(group)
    states = optimizer._states([p], buffers, group)
    return optimizer._update, [v is not None for v in buffers.values()], optimizer._settings(group, step, states)


def run(backend: Any, name: str, columns: Any, step: int = 3) -> None:
    """Make a step: `columns` are the parameters, the gradients, and as many of state as there may be."""
    update, state, settings = update_of(name, step)
    given = [column if there else None for column, there in zip(columns[2:], state)]
    update(backend, [*columns[:2], *given], **settings)
