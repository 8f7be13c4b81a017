"""The suites: what is measured."""

from __future__ import annotations

from ..case import Case
from . import ops, overhead, training

# Of cases run by the harness; `import` and `growth` have runners of their own.
CASES = {"overhead": overhead.cases, "ops": ops.cases, "training": training.cases}
NAMES = (*CASES, "import", "growth")


def cases(suite: str, quick: bool = False) -> list[Case]:
    """The cases of a suite."""
    found = CASES[suite](quick)
    assert len({c.name for c in found}) == len(found), "two cases of a suite have the same name"
    return found
