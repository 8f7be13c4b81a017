"""Nested tuples, lists and dictionaries: their leaves in order, their structure, and back.

Containers are exactly `tuple`, `list`, `dict`, `OrderedDict` and named tuples; everything else, None included, is a
leaf. Dictionaries keep the order of their keys.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple


class Structure(NamedTuple):
    """What a tree is without its leaves: the container's type, its keys, and its children; a leaf has no type."""

    kind: type | None
    keys: tuple[Any, ...] = ()
    children: tuple[Structure, ...] = ()

    def __repr__(self) -> str:
        return repr(self._built(iter(_STARS)))

    def _built(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        values = [child._built(leaves) for child in self.children]
        if self.kind in _DICTIONARIES:
            return self.kind(zip(self.keys, values))
        return self.kind(*values) if hasattr(self.kind, "_fields") else self.kind(values)


class _Stars:
    """Endlessly many leaves that print as `*`."""

    def __iter__(self) -> _Stars:
        return self

    def __next__(self) -> _Stars:
        return self

    def __repr__(self) -> str:
        return "*"


_STARS = _Stars()
_LEAF = Structure(None)
_DICTIONARIES = (dict, OrderedDict)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """The leaves of a tree and its structure.

    >>> flatten({"a": 1, "b": (2, [3])})
    ([1, 2, 3], {'a': *, 'b': (*, [*])})
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    kind = type(tree)
    if kind in _DICTIONARIES:
        return Structure(kind, tuple(tree), tuple([_flatten(value, leaves) for value in tree.values()]))
    if kind in (tuple, list) or (issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return Structure(kind, (), tuple([_flatten(value, leaves) for value in tree]))
    leaves.append(tree)
    return _LEAF


def unflatten(leaves: Iterable[Any], structure: Structure) -> Any:
    """The tree of that structure with these leaves.

    >>> unflatten("xyz", flatten({"a": 1, "b": (2, [3])})[1])
    {'a': 'x', 'b': ('y', ['z'])}
    """
    return structure._built(iter(leaves))


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with `function` applied to every leaf.

    >>> tree_map(str, (1, [2, {"a": 3}]))
    ('1', ['2', {'a': '3'}])
    """
    leaves, structure = flatten(tree)
    return unflatten([function(leaf) for leaf in leaves], structure)


def broadcast_prefix(prefix: Any, structure: Structure) -> list[Any] | None:
    """A leaf of `prefix` for each leaf of a tree of that structure; None if the two do not fit.

    >>> broadcast_prefix((0, 1), flatten(("a", {"b": "c", "d": "e"}))[1])
    [0, 1, 1]
    """
    own, shape = flatten(prefix)
    found: list[Any] = []
    return found if _broadcast(iter(own), shape, structure, found) else None


def _broadcast(leaves: Iterator[Any], prefix: Structure, structure: Structure, found: list[Any]) -> bool:
    if prefix.kind is None:
        found += [next(leaves)] * _count(structure)
        return True
    if (prefix.kind, len(prefix.children)) != (
        structure.kind,
        len(structure.children),
    ) or prefix.keys != structure.keys:
        return False
    return all(_broadcast(leaves, p, s, found) for p, s in zip(prefix.children, structure.children))


def _count(structure: Structure) -> int:
    return 1 if structure.kind is None else sum(map(_count, structure.children))
