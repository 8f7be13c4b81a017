"""`python -m gradcore info` tells what is there, and survives whatever is not."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import types
from importlib.metadata import version

import numpy as np
import pytest

from gradcore import __version__, info
from gradcore.__main__ import main
from gradcore.backends import hostcc


def rows(text: str) -> dict[str, str]:
    """The report as name -> value."""
    pairs = (line.strip().split("  ", 1) for line in text.splitlines() if line.startswith("  "))
    return {name: value.strip() for name, value in pairs}


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(info, "_gpus_of_driver", lambda: [])


def fake_cupy(monkeypatch, count: int = 1, error: Exception | None = None) -> None:
    def get_device_count():
        if error:
            raise error
        return count

    runtime = types.SimpleNamespace(
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 13000,
        getDeviceCount=get_device_count,
        getDeviceProperties=lambda i: {"name": b"NVIDIA X", "totalGlobalMem": 80 * 2**30, "major": 9, "minor": 0},
    )
    cuda = types.SimpleNamespace(runtime=runtime, nvrtc=types.SimpleNamespace(getVersion=lambda: (12, 9)))
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(__version__="14.2.0", cuda=cuda))


def test_versions_and_folders(no_cupy):
    report = info.report()
    found = rows(report)
    assert report.splitlines()[0] == f"gradcore {__version__}"
    assert found["Python"].startswith(platform.python_version())
    assert found["numpy"] == np.__version__
    assert found["ml_dtypes"] == version("ml_dtypes")
    assert found["BLAS"]
    assert "core" in found["cpu"]
    assert "kernels (" in found["sources"] and "(0 files)" not in found["sources"]
    assert found["host cache"].startswith(str(hostcc.cache_dir()))
    assert "could not be read" not in report


def test_the_command_prints_the_report(no_cupy, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADCORE_CACHE_DIR", str(tmp_path))  # the usual one grows while other tests run
    main(["info"])
    assert capsys.readouterr().out == info.report() + "\n"


def test_unknown_command(capsys):
    with pytest.raises(SystemExit):
        main(["inform"])
    assert "invalid choice: 'inform'" in capsys.readouterr().err


def test_without_cupy(no_cupy):
    found = rows(info.report())
    assert found["CuPy"] == "not installed"
    assert "pip install 'gradcore[cuda12]'" in found["GPU"]
    assert "GRADCORE_CUDA=cpu" in found["without"]


def test_gpu_without_cupy(no_cupy, monkeypatch):
    monkeypatch.setattr(info, "_gpus_of_driver", lambda: ["NVIDIA X, driver 580.1"])
    report = info.report()
    assert rows(report)["cuda:0"] == "NVIDIA X, driver 580.1, not usable without CuPy"
    assert "needed to use the GPU: pip install 'gradcore[cuda12]'" in report


def test_gpu(monkeypatch):
    fake_cupy(monkeypatch)
    report = info.report()
    found = rows(report)
    assert found["CuPy"] == "14.2.0"
    assert found["CUDA"] == "runtime 12.9"
    assert found["CUDA driver"] == "supports up to 13.0"
    assert found["NVRTC"] == "12.9"
    assert found["cuda:0"] == "NVIDIA X, 80.0 GiB, sm_90"
    assert "without" not in found


@pytest.mark.parametrize("error", [None, RuntimeError("cudaErrorInsufficientDriver:\ntoo old")])
def test_cupy_without_gpu(monkeypatch, error):
    fake_cupy(monkeypatch, count=0, error=error)
    found = rows(info.report())
    reason = "RuntimeError: cudaErrorInsufficientDriver: too old" if error else "no device"
    assert found["GPU"] == f"CuPy finds none ({reason}): check nvidia-smi and CUDA_VISIBLE_DEVICES"


def test_broken_cupy(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcublas.so.12: cannot open shared object file')")
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    report = info.report()
    assert "does not load: ImportError: libcublas.so.12: cannot open shared object file" in report
    assert "Install the build for your CUDA version" in report


def test_a_failing_probe_becomes_a_line(no_cupy, monkeypatch):
    def kernels_of_the_host():
        raise OSError("disk\nis gone")
        yield

    monkeypatch.setitem(info._SECTIONS, "Kernels", [kernels_of_the_host])
    assert rows(info.report())["kernels of the host"] == "could not be read: OSError: disk is gone"


@pytest.mark.parametrize(
    "value, meaning", [(None, "not set"), ("cpu", "is the CPU"), ("emulate", "emulated device"), ("gpu", "unknown")]
)
def test_meaning_of_gradcore_cuda(no_cupy, monkeypatch, value, meaning):
    if value is None:
        monkeypatch.delenv("GRADCORE_CUDA", raising=False)
    else:
        monkeypatch.setenv("GRADCORE_CUDA", value)
    assert meaning in rows(info.report())["GRADCORE_CUDA"]


def test_folder_sizes(tmp_path):
    assert info._folder(tmp_path / "absent").endswith("absent (not there yet)")
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(1_500_000))
    (tmp_path / "inner" / "b").write_bytes(bytes(600_000))
    assert info._folder(tmp_path) == f"{tmp_path} (2 files, 2.1 MB)"


def test_on_a_machine_with_nothing_on_its_path(tmp_path):
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment = {name: value for name, value in environment.items() if name not in ("CC", "CXX")}
    command = [sys.executable, "-m", "gradcore", "info"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert rows(done.stdout)["C compiler"] == "not found"
    assert "C++ compiler  no C/C++ compiler for c++ was found: install one" in done.stdout
    assert "could not be read" not in done.stdout
