"""Writes what was measured into the documents: tables between markers, and the plots.

README.md gets the target table, docs/benchmarks.md every suite. Nothing in them is written by hand, so that a figure
there is always one of a stored row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import plots, record, suites
from .record import Row
from .targets import PEER, TARGETS, Target

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
SUBJECTS = {"native": "native", "numpy": "NumPy only"}


def between_markers(text: str, name: str, content: str) -> str:
    """`text` with what stands between the markers replaced; ValueError if it has not one pair of them."""
    pattern = re.compile(rf"({re.escape(BEGIN)}\n).*?({re.escape(END)})", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{name} needs one pair of markers, {BEGIN} and {END}, each on a line of its own")
    return pattern.sub(lambda found: f"{found[1]}{content.rstrip()}\n{found[2]}", text)


def write(results: Path, root: Path) -> list[Path]:
    """Rewrite the documents under `root` from the rows in `results`, and draw the plots; the paths written."""
    rows = latest(record.stored(results))
    pages = {root / "README.md": readme(rows), root / "docs" / "benchmarks.md": details(rows)}
    texts = {p: between_markers(p.read_text(encoding="utf-8"), p.name, content) for p, content in pages.items()}
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return [*texts, *plots.draw(rows, root / "docs" / "images")]


def latest(rows: Iterable[Row]) -> list[Row]:
    """The last row of each identity, of the machines measured last: one without a GPU and one with."""
    rows = list(rows)
    kept: list[Row] = []
    for gpu in (False, True):
        own = [row for row in rows if has_gpu(row) == gpu]
        if own:
            newest = record.machine_kind(max(own, key=lambda row: row["date"]))
            kept += record.last(row for row in own if record.machine_kind(row) == newest).values()
    return kept


def has_gpu(row: Row) -> bool:
    """Whether a row was measured on a GPU: its device names one after the cores."""
    return not str(row["device"]).endswith("cores")


def executor(row: Row) -> str:
    """`native`, `numpy` or `cuda`; empty for what no executor has a part in."""
    return "numpy" if row["subject"] == "gradcore-numpy" else str(row["executor"])


def number(value: Any) -> str:
    """A ratio with two or three digits."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


# ---------------------------------------------------------------- the target table
def measured(target: Target, rows: Sequence[Row], which: str) -> dict[str, Row]:
    """The rows of a target's cases, by case, for an executor."""
    found: dict[str, Row] = {}
    for row in rows:
        case = f"{row['suite']}/{row['case']}"
        fitting = executor(row) in ("", which) and isinstance(row.get(target.column), (int, float))
        if case in target.cases and row["peer"] == PEER and fitting and not has_gpu(row):
            found[case] = row
    return found


def cell(target: Target, rows: Sequence[Row], which: str) -> str:
    """What was measured: the ratio with its percentiles, or the least and the largest of several; bold where missed."""
    found = measured(target, rows, which)
    if not found:
        return "not yet"
    values = [row[target.column] for row in found.values()]
    if len(found) == 1:
        (row,) = found.values()
        spread = f" ({number(row['p20'])} to {number(row['p80'])})" if _spread(target, row) else ""
        text = number(values[0]) + spread
    else:
        text = f"{number(min(values))} to {number(max(values))}"
    if len(found) < len(target.cases):
        text += f", {len(found)} of {len(target.cases)} cases"
    return f"**{text}**" if max(values) > target.limit(which) else text


def _spread(target: Target, row: Row) -> bool:
    return target.column == "ratio" and isinstance(row.get("p20"), (int, float))


def missed(rows: Sequence[Row]) -> list[str]:
    """A line for each case that misses its limit, with the reason."""
    lines = []
    for target in TARGETS:
        for which, name in SUBJECTS.items():
            for case, row in measured(target, rows, which).items():
                value, limit = row[target.column], target.limit(which)
                if value > limit:
                    reason = target.reason(case, which) or "the reason is not known yet"
                    lines.append(f"- {target.title}, {name}: `{case}` {number(value)}, at most {limit}: {reason}")
    return lines


def waiting() -> list[str]:
    """The cases of the targets that cannot run yet, a line for those that wait for the same."""
    import gradcore

    known = {case.id: case for suite in suites.CASES for case in suites.cases(suite)}
    groups: dict[str, dict[str, None]] = {}
    for target in TARGETS:
        for name in target.cases:
            if name in known and (needs := known[name].waits_for(gradcore)):
                groups.setdefault(", ".join(f"`{n}`" for n in needs), {})[f"`{name}`"] = None
    return [f"- {', '.join(names)}: waiting for {needs}" for needs, names in groups.items()]


def origin(rows: Sequence[Row]) -> str:
    """Where and when the rows were measured."""
    parts = []
    for gpu in (False, True):
        own = [row for row in rows if has_gpu(row) == gpu]
        if own:
            first, last = min(r["date"] for r in own), max(r["date"] for r in own)
            row = next(r for r in reversed(own) if r["date"] == last)
            when = last if first == last else f"{first} to {last}"
            torch = next((r["torch"] for r in reversed(own) if r["torch"]), "")
            parts.append(
                f"{row['device']}; Python {row['python']}, NumPy {row['numpy']}, PyTorch {torch or 'none'}; {when}"
            )
    return "Measured on " + "; and on ".join(parts) + "." if parts else "Nothing is stored yet."


def readme(rows: Sequence[Row]) -> str:
    """The target table, what misses it and why, what waits."""
    head = (
        "Median ratios of time, gradcore / PyTorch eager (below 1: gradcore is faster), with the 20th and 80th "
        "percentile, or the least and the largest of several cases. **Bold** misses its limit.\n"
    )
    table = ["| | native, at most | measured | NumPy only, at most | measured |", "|---|---|---|---|---|"]
    for t in TARGETS:
        cells = (t.title, t.native, cell(t, rows, "native"), t.numpy, cell(t, rows, "numpy"))
        table.append("| " + " | ".join(map(str, cells)) + " |")
    parts = [head + "\n" + "\n".join(table)]
    for title, lines in (("Missed, and why:", missed(rows)), ("Not there yet:", waiting())):
        if lines:
            parts.append(f"{title}\n\n" + "\n".join(lines))
    return "\n\n".join([*parts, origin(rows)])


# ---------------------------------------------------------------- every suite
def details(rows: Sequence[Row]) -> str:
    """A table for each suite."""
    parts = [origin(rows)]
    for suite in suites.NAMES:
        own = [row for row in rows if row["suite"] == suite]
        if own:
            body = growth(own) if suite == "growth" else ratios(own)
            parts.append(f"### {suite}\n\n{body}")
            if (plot := plots.name(suite)) and suite in plots.SUITES:
                parts.append(f"![{suite}](images/{plot})")
    return "\n\n".join(parts)


def ratios(rows: Sequence[Row]) -> str:
    """A line for each case and peer: both executors' ratios, the times, memory and bandwidth where measured."""
    groups: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in rows:
        key = (row["case"], row["peer"], row["threads"], has_gpu(row))
        groups.setdefault(key, {})[executor(row)] = row
    lines = ["| case | peer | threads | ratio | NumPy only | gradcore | peer's |", "|---|---|---|---|---|---|---|"]
    for (case, peer, threads, gpu), found in groups.items():
        main = found.get("cuda") or found.get("native") or found.get("")
        row = main or found["numpy"]
        name = f"{case} (GPU)" if gpu else case
        both = _ratio(main), _ratio(found.get("numpy"))
        cells = (name, peer or "-", threads, *both, amount(row, "ours"), amount(row, "theirs"))
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _ratio(row: Row | None) -> str:
    if row is None or not isinstance(row.get("ratio"), (int, float)):
        return "-"
    text = number(row["ratio"])
    if isinstance(row.get("p20"), (int, float)):
        text += f" ({number(row['p20'])} to {number(row['p80'])})"
    if isinstance(row.get("memory_ratio"), (int, float)):
        text += f"; memory {number(row['memory_ratio'])}"
    if isinstance(row.get("bandwidth"), (int, float)):
        text += f"; {row['bandwidth']:.0%} of a copy's bandwidth"
    return text


def amount(row: Row, column: str) -> str:
    """A time or a size with its unit."""
    value = row.get(column)
    if not isinstance(value, (int, float)):
        return "-"
    scales = ((1e6, "MB"), (1e3, "kB")) if row["unit"] == "B" else ((1, "s"), (1e-3, "ms"), (1e-6, "us"))
    scale, unit = next((s for s in scales if value >= s[0]), scales[-1])
    return f"{value / scale:.3g} {unit}"


def growth(rows: Sequence[Row]) -> str:
    """A line for each curve: the exponents."""
    lines = [
        "| curve | cost | subject | sizes | exponent | peer's | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sizes = str(row["sizes"]).split()
        exponents = ["flat" if not isinstance(e, (int, float)) or e != e else f"{e:.2f}" for e in _exponents(row)]
        cells = (row["case"], row["quantity"], row["subject"], f"{sizes[0]} to {sizes[-1]}", *exponents, row["flag"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _exponents(row: Row) -> tuple[Any, Any]:
    return row["exponent"], row["peer_exponent"]
