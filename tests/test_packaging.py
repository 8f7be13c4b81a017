"""What a user installs: the wheel, by way of the source distribution, and an editable install."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gradcore import __version__

ROOT = Path(__file__).resolve().parents[1]

pytest.importorskip("pip", reason="wheels are built and installed by pip")
pytest.importorskip("hatchling", reason="hatchling builds the wheel")
pytestmark = pytest.mark.skipif(not (ROOT / "gradcore").is_dir(), reason="the source tree is not here to build")

KERNELS = {path.relative_to(ROOT / "kernels"): path for path in (ROOT / "kernels").rglob("*.*") if path.suffix != ".md"}
PROBE = """
import json, gradcore
from gradcore.backends.cpp import sources
folder = sources.directory()
names = [str(p.relative_to(folder)) for p in folder.rglob("*.*") if p.suffix != ".md"]
print(json.dumps([gradcore.__file__, str(folder), sorted(names)]))
"""


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(python: str | Path, *arguments: str | Path, cwd: Path) -> None:
    options = ("--disable-pip-version-check", "--no-input", "--python", python)
    run(sys.executable, "-m", "pip", *options, *arguments, "--quiet", "--no-deps", "--no-build-isolation", cwd=cwd)


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "sdist", "--directory", folder, cwd=ROOT)
    (path,) = folder.glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    pip(sys.executable, "wheel", "--wheel-dir", sdist.parent, sdist, cwd=sdist.parent)
    (path,) = sdist.parent.glob("*.whl")
    return path


@pytest.fixture
def empty_environment(tmp_path) -> Path:
    """The interpreter of a new virtual environment that sees this one's packages, but not what its .pth files add."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = run(python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    Path(site, "dependencies.pth").write_text(str(Path(np.__file__).parents[1]))
    return python


def probe(python: Path, cwd: Path) -> tuple[Path, Path, set[Path]]:
    package, folder, names = json.loads(run(python, "-I", "-c", PROBE, cwd=cwd))
    return Path(package).parent, Path(folder), {Path(name) for name in names}


def test_an_installed_wheel_finds_its_kernels(wheel, empty_environment, tmp_path):
    pip(empty_environment, "install", "--no-index", wheel, cwd=tmp_path)
    package, folder, names = probe(empty_environment, tmp_path)
    assert tmp_path in package.parents
    assert folder == package / "kernels"
    assert names == set(KERNELS)
    assert all((folder / name).read_bytes() == path.read_bytes() for name, path in KERNELS.items())


def test_an_editable_install_finds_the_kernels_of_the_tree(empty_environment, tmp_path):
    pip(empty_environment, "install", "--no-index", "--editable", ROOT, cwd=tmp_path)
    package, folder, names = probe(empty_environment, tmp_path)
    assert package == ROOT / "gradcore"
    assert folder == ROOT / "kernels"
    assert names == set(KERNELS)
    assert not list((tmp_path / "venv").rglob("*.cuh")), "a copy of the kernels would hide changes"


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        infos = archive.infolist()
        names = {info.filename for info in infos}
        metadata = archive.read(f"gradcore-{__version__}.dist-info/METADATA").decode()
    package = {f"gradcore/{path.relative_to(ROOT / 'gradcore')}" for path in (ROOT / "gradcore").rglob("*.py")}
    kernels = {f"gradcore/kernels/{name}" for name in KERNELS}
    assert package | kernels | {"gradcore/py.typed"} <= names
    assert all(name.startswith(("gradcore/", "gradcore-")) for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".so", ".o")) or "__pycache__" in name]
    assert sum(info.file_size for info in infos) < 3e6
    assert "License-Expression: Apache-2.0" in metadata
    assert f"gradcore-{__version__}.dist-info/licenses/LICENSE" in names


def test_only_small_packages_are_required(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"gradcore-{__version__}.dist-info/METADATA").decode()
    required = [line.split(": ")[1] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    core = {requirement.split(">")[0] for requirement in required if "extra ==" not in requirement}
    assert core == {"numpy", "ml-dtypes"}


def test_the_source_distribution_can_be_tested(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    here = Path(__file__).relative_to(ROOT)
    expected = ["Makefile", "Dockerfile", "LICENSE", "README.md", "examples/train_digits.py", here.as_posix()]
    assert set(expected) <= names
    assert not [name for name in names if name.startswith((".git/", "out/", "bench/results"))]
