"""Draws the stored rows as SVG: bars of ratios, and curves of growth. Nothing without matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .record import Row
from .targets import PEER

SUITES = ("overhead", "ops", "training", "growth")
COLORS = {"gradcore": "#1f77b4", "gradcore-numpy": "#ff7f0e", PEER: "#7f7f7f"}
MOST_BARS = 60


def name(suite: str) -> str:
    """The file of a suite's plot."""
    return f"bench-{suite}.svg"


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One SVG for each suite that has rows; the paths. The same rows give the same bytes."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: matplotlib is not installed")
        return []
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    written = []
    folder.mkdir(parents=True, exist_ok=True)
    # Ids and dates would make every drawing another file.
    with matplotlib.rc_context({"svg.hashsalt": "gradcore", "svg.fonttype": "none", "font.size": 9}):
        for suite in SUITES:
            own = [row for row in rows if row["suite"] == suite]
            figure = (growth if suite == "growth" else bars)(plt, own)
            if figure is not None:
                figure.savefig(folder / name(suite), metadata={"Date": None}, bbox_inches="tight")
                plt.close(figure)
                written.append(folder / name(suite))
    return written


def bars(plt: Any, rows: Sequence[Row]) -> Any:
    """Ratios to PyTorch eager, a bar for each subject, on a logarithmic axis from 1; None without rows.

    Of many cases those forward + backward, and of these the largest, which matter most, are shown.
    """
    rows = [row for row in rows if row["peer"] == PEER and isinstance(row.get("ratio"), (int, float))]
    cases = list(dict.fromkeys(row["case"] for row in rows))
    if len(cases) > MOST_BARS:
        size = {row["case"]: int(row["size"] or 0) for row in rows}
        whole = [c for c in cases if not c.endswith("-forward")]
        cases = sorted(sorted(whole, key=lambda c: -size[c])[:MOST_BARS], key=cases.index)
    if not cases:
        return None
    subjects = [s for s in COLORS if any(row["subject"] == s for row in rows)]
    figure, axes = plt.subplots(figsize=(7, 0.8 + 0.14 * (len(subjects) + 0.6) * len(cases)))
    height = 0.8 / len(subjects)
    for k, subject in enumerate(subjects):
        own = {row["case"]: row for row in rows if row["subject"] == subject}
        found = [(i, own[c]) for i, c in enumerate(cases) if c in own]
        at = [i + (k - (len(subjects) - 1) / 2) * height for i, _ in found]
        ratios = [row["ratio"] for _, row in found]
        low = [max(0.0, row["ratio"] - row["p20"]) for _, row in found]
        high = [max(0.0, row["p80"] - row["ratio"]) for _, row in found]
        axes.barh(at, [r - 1 for r in ratios], height, left=1, color=COLORS[subject], label=subject)
        axes.errorbar(ratios, at, xerr=[low, high], fmt="none", ecolor="#333333", elinewidth=0.7)
    axes.set_xscale("log")
    axes.axvline(1, color="#333333", linewidth=0.8)
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("time / PyTorch eager's; below 1 is faster")
    axes.legend(fontsize="small")
    return figure


def growth(plt: Any, rows: Sequence[Row]) -> Any:
    """A panel for each curve and quantity, both axes logarithmic; None without rows."""
    panels = list(dict.fromkeys((row["case"], row["quantity"]) for row in rows))
    if not panels:
        return None
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3), squeeze=False)
    for ax, (curve, quantity) in zip(axes[0], panels):
        drawn: set[str] = set()
        for row in rows:
            if (row["case"], row["quantity"]) != (curve, quantity):
                continue
            sizes = [float(s) for s in str(row["sizes"]).split()]
            for subject, costs in ((row["subject"], row["ours"]), (row["peer"], row["theirs"])):
                values = [float(c) for c in str(costs).split()]
                if values and subject not in drawn:
                    drawn.add(subject)
                    ax.plot(sizes, values, marker=".", color=COLORS.get(subject), label=subject)
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel(curve)
        ax.set_title(f"{quantity}, {'s' if quantity == 'time' else 'bytes'}", fontsize="medium")
    axes[0][0].legend(fontsize="small")
    figure.tight_layout()
    return figure
