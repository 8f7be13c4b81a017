"""From CUDA C++ to kernels that can be launched."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from typing import Any

from ..cpp import sources

# The C++ dialect of the kernels. Never -use_fast_math: NaN and infinity keep their meaning.
OPTIONS = ("--std=c++17",)

# Functions called with (source, options, kernel names) before each compilation.
on_compile: list[Callable[[str, tuple[str, ...], tuple[str, ...]], None]] = []


class Compiler:
    """Compiles for one device; every text once in a process. The driver keeps compiled code on disk beyond that."""

    def __init__(self, xp: Any):
        self._xp = xp
        self._modules: dict[str, Any] = {}

    def kernels(self, text: str, names: tuple[str, ...], subject: str) -> tuple[Any, ...]:
        """The kernels called `names` of a source; `subject` says in errors what it computes.

        Raises:
            RuntimeError: if the source does not compile.
        """
        source = sources.assemble(text)
        module = self._modules.get(source)
        if module is None:
            for hook in on_compile:
                hook(source, OPTIONS, names)
            try:
                module = self._xp.RawModule(code=source, options=OPTIONS)
                module.compile()
            except Exception as error:
                raise RuntimeError(_explanation(error, source, subject)) from error
            self._modules[source] = module
        return tuple(module.get_function(name) for name in names)


def _explanation(error: Exception, source: str, subject: str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else type(error).__name__)
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    path = os.path.join(tempfile.gettempdir(), f"gradcore-{digest}.cu")
    with open(path, "w", encoding="utf-8") as file:
        file.write(source)
    hint = ""
    if "cuda_fp16.h" in first or "could not open source file" in first or "cannot open source file" in first:
        hint = " The CUDA headers are missing: pip install 'cupy-cuda12x[ctk]' (or cupy-cuda13x[ctk])."
    return f"the CUDA kernel for {subject} does not compile: {first}.{hint} Its source is in {path}"
