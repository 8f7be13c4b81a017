"""Has anything become slower? Fresh ratios beside the last stored ones of the same kind of machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import record
from .record import Row

RATIOS = {"ratio": "time", "memory_ratio": "memory"}


def regressions(fresh: Iterable[Row], stored: Sequence[Row], tolerance: float) -> tuple[list[str], int]:
    """A line for each ratio that has grown by more than `tolerance`, and how many ratios were compared.

    A time counts as grown only if its 20th percentile too lies above the stored median: a busy machine moves the
    median of a few cases in every run.
    """
    found, compared = [], 0
    kinds: dict[tuple[str, ...], dict[tuple[str, ...], Row]] = {}
    for row in fresh:
        kind = record.machine_kind(row)
        if kind not in kinds:
            kinds[kind] = record.last(r for r in stored if record.machine_kind(r) == kind)
        before = kinds[kind].get(record.identity(row))
        if before is None:
            continue
        for column, what in RATIOS.items():
            new, old = row.get(column), before.get(column)
            if not isinstance(new, (int, float)) or not isinstance(old, (int, float)):
                continue
            compared += 1
            low = row.get("p20") if column == "ratio" else None
            if new > old * (1 + tolerance) and (not isinstance(low, (int, float)) or low > old):
                found.append(
                    f"{row['suite']}/{row['case']}: {what} of {row['subject']} / {row['peer']} was {old:.3f} "
                    f"({before['commit']}, {before['date']}) and is {new:.3f}"
                )
    return found, compared


def report(fresh: Sequence[Row], stored: Sequence[Row], tolerance: float) -> int:
    """Print what became slower. The exit status: 1 if something did, 2 if nothing could be compared."""
    found, compared = regressions(fresh, stored, tolerance)
    for text in found:
        print(f"slower: {text}")
    if not compared:
        print("nothing is stored for this kind of machine and these cases: python -m bench run --store")
        return 2
    print(f"{len(found)} of {compared} ratios grew by more than {tolerance:.0%}")
    return 1 if found else 0
