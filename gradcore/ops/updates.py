"""Updates of many tensors at once, in place: what optimizers do, each declared by one scalar expression."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..backends import Array, Backend
from ..expr import Program, Scalar, call, trace
from .core import array_of


class MultiTensorUpdate:
    """An update declared by a Python function over scalars, which stand for one element of each tensor.

    The positional parameters are columns: what is changed, the gradient, which is only read, and state, which is
    changed, too; a column that is not always there has the default None. Keyword-only parameters are numbers, or
    options (bools, None), which the function sees as they are. It returns the new values of the columns that are there,
    but for the gradient.
    """

    def __init__(self, function: Callable[..., Any]):
        self.name = function.__name__
        self.function = function
        self.__doc__ = inspect.getdoc(function)
        parameters = inspect.signature(function).parameters.values()
        self.columns = tuple(p.name for p in parameters if p.kind is not p.KEYWORD_ONLY)
        # By which columns there are and what the options say.
        self._programs: dict[tuple[Any, ...], Program] = {}

    def program(self, present: Sequence[bool], settings: dict[str, Any], skips: bool = False) -> Program:
        """The program for the columns that are present, and the options among the settings.

        If it `skips`, one number more, the last one, tells whether everything is to stay as it is.
        """
        columns = [name for name, is_there in zip(self.columns, present) if is_there]
        absent = {name: None for name in self.columns if name not in columns}
        options = {name: value for name, value in settings.items() if _is_option(value)}
        names = [*columns, *(name for name in settings if name not in options)]

        def updated(*scalars: Scalar) -> Any:
            new = self.function(**dict(zip(names, scalars)), **absent, **options)
            if not skips:
                return new
            old = [scalars[i] for i in range(len(columns)) if i != 1]
            return tuple(call("where", scalars[-1] > 0, before, after) for before, after in zip(old, new, strict=True))

        program = trace(updated, [*names, "skip"] if skips else names)
        if len(program.outputs) != len(columns) - (len(columns) > 1):
            raise TypeError(
                f"{self.name}(): its function returned {len(program.outputs)} values for the columns "
                f"{', '.join(columns)}, of which the second is only read"
            )
        return program

    def __call__(
        self,
        backend: Backend,
        columns: Sequence[Sequence[Array] | None],
        *,
        skip: Any = None,
        flag: tuple[Program, Array] | None = None,
        **settings: Any,
    ) -> None:
        """Update the tensors of `columns`: lists of arrays, one for each parameter, or None.

        A setting is an option, a number, or a zero-dimensional array or tensor of the tensors' device. `skip` is such a
        tensor: nothing is changed unless it is 0. `flag`
        is what `Backend.multi_tensor_flagged` takes besides.
        """
        key: list[Any] = [c is None for c in columns]
        key.append(skip is not None)
        numbers = []
        for value in settings.values():
            if value is None or value is True or value is False:
                key.append(value)
            else:
                key.append("number")
                numbers.append(value if value.__class__ is float else array_of(value))
        if skip is not None:
            numbers.append(array_of(skip))
        found = tuple(key)
        program = self._programs.get(found)
        if program is None:
            program = self._programs[found] = self.program([c is not None for c in columns], settings, skip is not None)
        present = [c for c in columns if c is not None]
        if flag is None:
            backend.multi_tensor(self.name, program, present, numbers)
        else:
            backend.multi_tensor_flagged(self.name, program, present, numbers, *flag)


def _is_option(value: Any) -> bool:
    return value is None or value.__class__ is bool
