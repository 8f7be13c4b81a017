"""From the source of a CUDA kernel to the C++ text that the host compiler gets.

The source stays as it is, line for line, but for two things: `extern __shared__` arrays become pointers, and the
functions by which the launcher calls the kernels are added at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .errors import UnsupportedError

_UNSUPPORTED = (
    (r"\basm\b", "inline PTX"),
    (r"#\s*include\s*<cooperative_groups", "cooperative groups"),
    (r"\bcooperative_groups\b", "cooperative groups"),
    (
        r"\b__pipeline_\w+|\bcuda::memcpy_async\b|#\s*include\s*<cuda/(?:pipeline|barrier)",
        "asynchronous copies (cp.async)",
    ),
    (r"\bnvcuda\b|\bwmma::|#\s*include\s*<mma\.h>", "tensor cores (wmma)"),
    (r"#\s*include\s*<(?:cub|thrust|cuda/std)/", "CUB, Thrust or libcu++"),
    (r"#\s*include\s*<cupy/", "CuPy's device headers"),
    (r"\b(?:cudaTextureObject_t|cudaSurfaceObject_t|tex[123]D\w*|surf[123]D\w*)\b", "textures and surfaces"),
    (r"\b__cluster_dims__\b|\bcluster_group\b", "thread block clusters"),
    (r"<<<", "launches from a kernel"),
    (
        r"\b__shfl(?:_up|_down|_xor)?\s*\(|\b__(?:any|all|ballot)\s*\(",
        "warp operations without _sync, removed in Volta",
    ),
    (r"#\s*include\s*<cuda_fp8", "8-bit floating point"),
)
_unsupported = [(re.compile(pattern), name) for pattern, name in _UNSUPPORTED]

_HALF_HEADERS = re.compile(r"#\s*include\s*<cuda_(?:fp16|bf16)\.h")
_comment = re.compile(r'//[^\n]*|/\*.*?\*/|("(?:\\.|[^"\\\n])*")', re.DOTALL)
_align = r"(?:__align__\s*\([^)]*\)|alignas\s*\([^)]*\))?"
_dynamic_shared = re.compile(
    rf"extern\s+{_align}\s*__shared__\s+{_align}\s*"
    r"(?P<type>(?:volatile\s+|unsigned\s+|signed\s+)*[\w:<>,]+(?:\s+(?:char|int|short|long))*)\s+"
    rf"{_align}\s*(?P<name>\w+)\s*\[\s*\]\s*;"
)
_kernel = re.compile(
    r"(?P<template>template\s*<[^;{}]*>\s*)?(?:extern\s+\"C\"\s+)?(?:(?:static|inline)\s+)*"
    r"__global__\s+(?:(?:static|inline)\s+)*(?:__launch_bounds__\s*\([^)]*\)\s*)?void\s+"
    r"(?:__launch_bounds__\s*\([^)]*\)\s*)?(?P<name>\w+)\s*\("
)
_macro_definition = re.compile(r"^[ \t]*#[ \t]*define\b(?:[^\n]*\\\n)*[^\n]*$", re.MULTILINE)


def without_comments(code: str) -> str:
    """The code with comments blanked out, line numbers unchanged."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[1] else " " + "\n" * match[0].count("\n")

    return _comment.sub(blank, code)


def check_supported(code: str) -> None:
    """Raises UnsupportedError, with the line, if a kernel uses what the emulator does not know."""
    for line, text in enumerate(without_comments(code).split("\n"), 1):
        for pattern, name in _unsupported:
            if pattern.search(text):
                raise UnsupportedError(f"the emulated CUDA device does not know {name} (line {line}: {text.strip()})")


def kernel_names(code: str) -> list[str]:
    """The names of the kernels of a source that are no templates and not made by macros."""
    plain = _macro_definition.sub("", without_comments(code))
    return list(dict.fromkeys(m["name"] for m in _kernel.finditer(plain) if not m["template"]))


def uses_half(code: str) -> bool:
    """Whether the source includes NVIDIA's half-precision headers."""
    return bool(_HALF_HEADERS.search(code))


def definitions(options: Iterable[str]) -> str:
    """The `-D` and `-U` options as preprocessor lines; other options mean nothing here."""
    lines = []
    words = iter(options)
    for word in words:
        if word in ("-D", "-U"):
            word += next(words)
        name, _, value = word[2:].partition("=")
        if word.startswith("-D"):
            lines.append(f"#define {name} {value or 1}")
        elif word.startswith("-U"):
            lines.append(f"#undef {name}")
    return "".join(line + "\n" for line in lines)


def translate(code: str, names: Sequence[str], options: Iterable[str] = ()) -> str:
    """The C++ text of a module that exports the kernels `names`."""
    check_supported(code)
    body = _dynamic_shared.sub(r"\g<type>* const \g<name> = (\g<type>*)::emu::dynamic_shared();", code)
    rest = re.search(r"\bextern\s+(?!\")[^;{}]*__shared__[^;]*;", without_comments(body))
    if rest:
        raise UnsupportedError(f"the emulated CUDA device does not understand this declaration: {rest[0]}")
    exports = "".join(f"EMU_EXPORT_KERNEL({index}, {name})\n" for index, name in enumerate(names))
    return (
        f"#define __CUDA_ARCH__ 800\n#define __CUDACC_RTC__ 1\n{definitions(options)}"
        f'#line 1 "kernel.cu"\n{body}\n#line 1 "exports"\nEMU_EXPORT_MODULE\n{exports}'
    )
