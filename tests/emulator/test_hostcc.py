"""Finding a host compiler, and the cache of what it built."""

import ctypes
from pathlib import Path

import pytest

from gradcore.backends import hostcc


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADCORE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["c", "c++"])
def language(request):
    try:
        hostcc.find_compiler(request.param)
    except hostcc.HostCompilerError as error:
        pytest.skip(str(error))
    return request.param


def source(language, number):
    prefix = 'extern "C" ' if language == "c++" else ""
    return f"{prefix}int answer(void) {{ return {number} + EXTRA; }}"


def test_build(language, cache):
    path = hostcc.build_shared(source(language, 40), language=language, flags=["-DEXTRA=2"])
    assert path.parent == cache and path.suffix == ".so"
    assert ctypes.CDLL(str(path)).answer() == 42
    assert list(cache.iterdir()) == [path]  # nothing is left over


def test_what_was_built_is_found_again(language, monkeypatch):
    first = hostcc.build_shared(source(language, 1), language=language, flags=["-DEXTRA=2"])
    monkeypatch.setattr(hostcc.HostCompiler, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert hostcc.build_shared(source(language, 1), language=language, flags=["-DEXTRA=2"]) == first


def test_text_flags_and_dependencies_are_part_of_the_key(language):
    def build(number=1, extra=2, **kwargs):
        return hostcc.build_shared(source(language, number), language=language, flags=[f"-DEXTRA={extra}"], **kwargs)

    assert len({build(), build(number=2), build(extra=3), build(depends_on=["a header"])}) == 4


def test_errors_hold_the_messages(language, cache):
    with pytest.raises(hostcc.HostCompilerError, match="EXTRA"):
        hostcc.build_shared(source(language, 1), language=language)
    assert list(cache.iterdir()) == []


def test_no_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    hostcc.find_compiler.cache_clear()
    try:
        with pytest.raises(hostcc.HostCompilerError, match=r"no C/C\+\+ compiler for c was found: install one .*\$CC"):
            hostcc.find_compiler("c")
    finally:
        hostcc.find_compiler.cache_clear()


def test_cache_dir(monkeypatch, tmp_path):
    monkeypatch.delenv("GRADCORE_CACHE_DIR")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert hostcc.cache_dir() == tmp_path / "gradcore"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hostcc.cache_dir() == Path(tmp_path, ".cache", "gradcore")


def test_a_failed_make_leaves_nothing(cache):
    def make(path):
        path.write_text("half a file")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        hostcc.cached(["key"], ".txt", make)
    assert list(cache.iterdir()) == []
    assert hostcc.cached(["key"], ".txt", lambda path: path.write_text("whole")).read_text() == "whole"
