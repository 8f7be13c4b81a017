"""Compiles C and C++ for the host, and keeps what was built in a disk cache.

Built files are named after a hash of the compiler's version, the flags and the text, so a cached file is never stale
and never has to be checked; they are moved into place in one step, so any number of processes may build at once.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_CANDIDATES = {"c": ("CC", ("gcc", "clang", "cc")), "c++": ("CXX", ("g++", "clang++", "c++"))}
_SUFFIXES = {"c": ".c", "c++": ".cpp"}


class HostCompilerError(RuntimeError):
    """No host compiler was found, or it refused its input (then the message holds what it printed)."""


@dataclass(frozen=True)
class HostCompiler:
    """A compiler for one language (`"c"` or `"c++"`)."""

    command: tuple[str, ...]
    language: str
    family: str  # "gcc" or "clang"
    version: str

    def run(self, arguments: Sequence[str], *, cwd: Path | None = None) -> None:
        """Runs the compiler.

        Raises:
            HostCompilerError: with the compiler's messages, if it fails.
        """
        command = [*self.command, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, errors="replace")
        if done.returncode:
            raise HostCompilerError(f"{shlex.join(command)} failed:\n{done.stderr[:8000]}")


def cache_dir() -> Path:
    """The directory of built files: `$GRADCORE_CACHE_DIR`, or `gradcore` in the user's cache directory."""
    explicit = os.environ.get("GRADCORE_CACHE_DIR")
    if explicit:
        return Path(explicit)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gradcore"


@functools.cache
def find_compiler(language: str = "c", family: str | None = None) -> HostCompiler:
    """The host compiler for a language: `$CC` / `$CXX` if set, else the first one found on the path.

    Args:
        language: `"c"` or `"c++"`.
        family: `"gcc"` or `"clang"` to accept that compiler only.

    Raises:
        HostCompilerError: if there is none; the message says what to install.
    """
    variable, names = _CANDIDATES[language]
    explicit = shlex.split(os.environ.get(variable, ""))
    for command in ([explicit] if explicit else []) + [[name] for name in names]:
        compiler = _probe(tuple(command), language)
        if compiler and family in (None, compiler.family):
            return compiler
    wanted = {"gcc": "GCC", "clang": "Clang", None: "C/C++"}[family]
    raise HostCompilerError(
        f"no {wanted} compiler for {language} was found: install one (Debian, Ubuntu: apt install g++; "
        f"Fedora: dnf install gcc-c++; macOS: xcode-select --install) or name it in ${variable}"
    )


def _probe(command: tuple[str, ...], language: str) -> HostCompiler | None:
    if not shutil.which(command[0]):
        return None
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace")
    if done.returncode or not done.stdout:
        return None
    family = "clang" if "clang" in done.stdout else "gcc"
    return HostCompiler(command, language, family, done.stdout.splitlines()[0])


@functools.cache
def cpu_features() -> frozenset[str]:
    """The instruction set extensions of this machine's CPU, by Linux's names; empty where they are not known."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def cached(key: Iterable[str], suffix: str, make: Callable[[Path], None], prefix: str = "") -> Path:
    """The cached file for a key, made by `make(path)` if it is not there yet.

    Args:
        key: everything that the file's content depends on.
        suffix: of the file's name, with the dot.
        make: writes the file at the (temporary) path that it is given.
        prefix: of the file's name.
    """
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
    path = cache_dir() / (prefix + digest + suffix)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix="build-") as scratch:
            temporary = Path(scratch) / path.name
            make(temporary)
            os.replace(temporary, path)
    return path


def build_shared(
    text: str,
    *,
    language: str = "c",
    flags: Sequence[str] = (),
    link_flags: Sequence[str] = (),
    compiler: HostCompiler | None = None,
    depends_on: Iterable[str] = (),
    name_prefix: str = "",
) -> Path:
    """Compiles a source text into a shared library and returns its path in the cache.

    Args:
        text: the source.
        language: `"c"` or `"c++"`.
        flags: for the compiler. `-march=native` and `-mcpu=native` are understood: the CPU's features become part of
            the key.
        link_flags: put after the source, such as `-lm`.
        compiler: the one to use; by default `find_compiler(language)`.
        depends_on: further text that the result depends on, such as included headers.
        name_prefix: of the library's file name.

    Raises:
        HostCompilerError: if there is no compiler, or it refuses the source.
    """
    compiler = compiler or find_compiler(language)
    key = [*compiler.command, compiler.version, platform.machine(), *flags, *link_flags, text, *depends_on]
    if any(flag.endswith("=native") for flag in flags):
        key += sorted(cpu_features())

    def make(path: Path) -> None:
        source = path.with_suffix(_SUFFIXES[language])
        source.write_text(text)
        compiler.run([*flags, "-shared", "-fPIC", source.name, "-o", path.name, *link_flags], cwd=path.parent)

    return cached(key, ".so", make, name_prefix)
