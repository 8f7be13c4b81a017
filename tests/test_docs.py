"""The Python blocks of README.md and docs/ run, and print what they say.

A block with `>>>` is a doctest, any other is executed; the blocks of one file share their names, in order. A block that
cannot run here (a GPU's, say) is fenced as ```py instead of ```python.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [path for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if path.is_file()]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    """The Python blocks of a page, with the number of the line each begins on."""
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in FENCE.finditer(text)]


def run_page(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "__main__"}
    parser = doctest.DocTestParser()
    for line, block in blocks(text):
        if ">>>" in block:
            test = parser.get_doctest(block, names, path.name, str(path), line)
            report: list[str] = []
            doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(
                test, out=report.append, clear_globs=False
            )
            names = test.globs
            if report:
                raise AssertionError("".join(report))
        else:
            exec(compile("\n" * line + block, str(path), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_page(page)


def test_a_wrong_example_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 2\n```\n\n```python\n>>> x + 1\n3\n```\n")
    run_page(page)
    page.write_text("```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="Expected:\n    3\nGot:\n    2"):
        run_page(page)
    page.write_text("text\n```python\nx = 1\nraise KeyError(x)\n```\n")
    with pytest.raises(KeyError) as failure:
        run_page(page)
    assert failure.traceback[-1].lineno + 1 == 4
