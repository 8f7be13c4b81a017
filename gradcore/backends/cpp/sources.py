"""The kernel sources: where they lie, and how one text is made of a source and the headers it includes."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_include = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"[^\n]*\n?', re.MULTILINE)
_once = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[ \t]*\n?", re.MULTILINE)


@cache
def directory() -> Path:
    """The directory of the kernels: `gradcore/kernels` in an installed package, `kernels` beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for candidate in (package / "kernels", package.parent / "kernels"):
        if (candidate / "math.cuh").is_file():
            return candidate
    raise RuntimeError(
        f"gradcore's CUDA sources are missing: no math.cuh in {package / 'kernels'} or {package.parent / 'kernels'}. "
        f"Reinstall gradcore"
    )


@cache
def read(name: str) -> str:
    """The text of one file, such as `"math.cuh"`."""
    return (directory() / name).read_text(encoding="utf-8")


def assemble(text: str) -> str:
    """`text` with every `#include "..."` of a kernel header replaced by the header, each header once.

    The compiler then needs no search path, and its cache, which goes by the text, notices a changed header.
    """
    seen: set[str] = set()

    def insert(match: re.Match[str]) -> str:
        name = match[1]
        if name in seen:
            return ""
        seen.add(name)
        return _include.sub(insert, _once.sub("", read(name)))

    return _include.sub(insert, text)
