"""Every kernel compiled by NVRTC for every supported architecture, without a GPU: no error, no warning, no spill.

What is compiled, with the backend's own options and those that CuPy adds (see tests/kernel_catalogue.py):

- ops: all elementwise ops of the registry in float32, float16, bfloat16, float64, int64 and bool as far as they take
  them, forward and backward, with every value that is built into a program, with numbers for tensors, and in float32
  with each gradient alone;
- layouts: add, where and pow, forward and backward, over flat operands (aligned, unaligned, single elements), ranks 2
  to 4 (vectors, an element per row, single elements, transposed) and 64-bit indices; conversions between all dtypes;
- reductions: the whole table along rows and columns; sum and a dot product along every other pattern, in chunks and
  with 64-bit indices; arg_reduce;
- rows, norms, optimizers, random, indexing: every hand-written kernel with every setting it is compiled with.

For each architecture, in float32: the rows. The rest, over two thousand kernels, is dealt out: each text goes to one
architecture, and each architecture sees a part of each large family.
`GRADCORE_COMPILE_MATRIX=full` compiles everything for all of them (seven minutes on two cores). NVRTC is that of CUDA
12; `GRADCORE_NVRTC=13` takes CUDA 13's, and where both are installed, one architecture is compiled by both.

A spill is a register that is kept in memory. There are none. Sines and cosines of huge angles need a table in local
memory, which is no spill. Results are kept in `$GRADCORE_CACHE_DIR`.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

import kernel_catalogue as catalogue
import nvrtc
import pytest
from kernel_catalogue import FAMILIES, Source, programs, sources_of

from gradcore.backends import hostcc
from gradcore.backends.cpp import sources
from gradcore.backends.cpp.sources import assemble
from gradcore.backends.cuda import compiler
from gradcore.ops import REGISTRY, Elementwise

pytestmark = pytest.mark.skipif(not nvrtc.available(), reason=nvrtc.missing())

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
# The major version of CUDA, and the architecture.
TARGETS = [(nvrtc.default(), architecture) for architecture in ARCHITECTURES]
if nvrtc.default() != 13 and nvrtc.available(13):
    TARGETS.append((13, "sm_90"))
FOR_EACH = ("rows",)
# CuPy puts this behind whatever options it is given.
OPTIONS = (*compiler.OPTIONS, "-ftz=true", "--ptxas-options=--verbose")
REGISTER_FILE = 65536
# Payne and Hanek's reduction of an angle.
ANGLES = re.compile(r"\b(sin|cos|tan)\b")
ANGLE_TABLE = 40

_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?(?P<stack>\d+) bytes stack frame, (?P<spill>\d+) bytes spill stores"
    r".*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)


def usage(text: str, architecture: str, major: int | None = None) -> dict[str, dict[str, int]]:
    """Registers, spilled bytes and bytes of local memory of each kernel of a text.

    Raises:
        nvrtc.NvrtcError: if it does not compile, or with a warning.
    """
    whole = assemble(text)
    library = nvrtc.nvrtc(major)

    def make(path: Path) -> None:
        _, log = library.compile(whole, architecture, OPTIONS)
        if "warning" in log:
            raise nvrtc.NvrtcError(f"{architecture}: {log}")
        found = {m["name"]: {key: int(m[key]) for key in ("registers", "spill", "stack")} for m in _ENTRY.finditer(log)}
        path.write_text(json.dumps(found))

    version = ".".join(map(str, library.version))
    path = hostcc.cached(["kernel usage 1", version, architecture, *OPTIONS, whole], ".json", make)
    found: dict[str, dict[str, int]] = json.loads(path.read_text())
    return found


def complaints(batch: list[Source], text: str, architecture: str, major: int | None = None) -> list[str]:
    """What is wrong with the kernels of a text, in words."""
    found = usage(text, architecture, major)
    wrong = []
    for i, source in enumerate(batch):
        for name, threads in source.threads.items():
            kernel = found[name if len(batch) == 1 else f"{name}_{i}"]
            where = f"{architecture}: {name} ({source.subject})"
            if kernel["spill"]:
                wrong.append(f"{where} spills {kernel['spill']} bytes of registers")
            elif kernel["stack"] > (ANGLE_TABLE if ANGLES.search(source.subject) else 0):
                wrong.append(f"{where} has {kernel['stack']} bytes of local memory")
            # A warp gets registers for each thread by eights.
            if -(-kernel["registers"] // 8) * 8 * threads > REGISTER_FILE:
                wrong.append(f"{where} needs {kernel['registers']} registers for each of {threads} threads")
    return wrong


def chosen(family: str, architecture: str) -> list[tuple[str, list[Source]]]:
    """The texts of a family that are compiled for an architecture."""
    texts = []
    everything = os.environ.get("GRADCORE_COMPILE_MATRIX") == "full"
    for dtype in FAMILIES[family][1]:
        first = zlib.crc32(f"{family} {dtype}".encode())
        always = everything or (dtype == "float32" and family in FOR_EACH)
        for i, program in enumerate(programs(sources_of(family, dtype))):
            if always or ARCHITECTURES[(first + i) % len(ARCHITECTURES)] == architecture:
                texts.append(program)
    return texts


@pytest.mark.parametrize("major, architecture", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_kernels_compile(family: str, major: int, architecture: str) -> None:
    wrong = []
    for text, batch in chosen(family, architecture):
        wrong += complaints(batch, text, architecture, major)
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------- the list is complete, and the checks can fail


def all_sources() -> list[Source]:
    return [s for family, (_, dtypes) in FAMILIES.items() for dtype in dtypes for s in sources_of(family, dtype)]


def test_every_text_goes_to_an_architecture() -> None:
    for family, (_, dtypes) in FAMILIES.items():
        compiled = {s for a in ARCHITECTURES for _, batch in chosen(family, a) for s in batch}
        assert compiled == {s for dtype in dtypes for s in sources_of(family, dtype)}


def test_every_kernel_file_is_compiled() -> None:
    texts = "".join(s.text for s in all_sources())
    files = list(sources.directory().glob("*.cu"))
    assert files
    for path in files:
        assert sources.read(path.name) in texts, path.name


def test_every_elementwise_op_is_compiled() -> None:
    programs = {line[3:] for s in sources_of("ops", "float32") for line in s.text.splitlines() if line.startswith("//")}
    for op in REGISTRY.values():
        if isinstance(op, Elementwise) and op.promote != "integral":
            numbers = [p for p in op.parameters if p not in op.inputs and not isinstance(op.defaults.get(p), str)]
            key = op.split([object()] * len(op.inputs), dict.fromkeys(numbers, 0.5))[0]
            assert op.program_of(key).key in programs, op.name


def test_every_kernel_is_launched() -> None:
    """Or its block size is not known. Second launches of reductions have the same block everywhere."""
    never = {n for s in all_sources() for n, threads in s.threads.items() if not threads}
    ever = {n for s in all_sources() for n, threads in s.threads.items() if threads}
    assert {n for n in never - ever if not n.endswith("_partials")} == set()
    assert any(n.endswith("_partials") for n in ever)


def test_a_text_of_several_kernels_is_told_apart() -> None:
    sources = [
        Source(f'extern "C" __global__ void k(float *x) {{ x[0] = {i}; }}\n', f"number {i}", {"k": 32})
        for i in range(3)
    ]
    ((text, batch),) = programs(sources)
    assert set(usage(text, "sm_80")) == {"k_0", "k_1", "k_2"}
    assert complaints(batch, text, "sm_80") == []


def test_an_error_names_the_kernel() -> None:
    good = Source('extern "C" __global__ void k(float *x) { x[0] = 1; }\n', "the good one", {"k": 32})
    bad = Source('extern "C" __global__ void k(float *x) {\n  x[0] = INFINITY;\n}\n', "the bad one", {"k": 32})
    ((text, _),) = programs([good, bad])
    with pytest.raises(nvrtc.NvrtcError, match=r"the bad one\(2\): error"):
        usage(text, "sm_80")


HUNGRY = """
extern "C" __global__ void __launch_bounds__(1024) hungry(float *x) {
  float a[100];
  #pragma unroll
  for (int i = 0; i < 100; i++) a[i] = x[i * 1024 + threadIdx.x];
  for (int j = 0; j < 100; j++) {
    #pragma unroll
    for (int i = 0; i < 100; i++) a[i] = a[i] * a[99 - i] + x[j];
  }
  #pragma unroll
  for (int i = 0; i < 100; i++) x[i * 1024 + threadIdx.x] = a[i];
}
"""
TABLE = """
extern "C" __global__ void table(float *x, int i) {
  float a[100];
  for (int j = 0; j < 100; j++) a[j] = x[j * 3];
  x[0] = a[i];
}
"""


@pytest.mark.parametrize(
    "text, threads, complaint",
    [
        (HUNGRY, 1024, r"hungry \(it\) spills \d+ bytes"),
        (HUNGRY.replace("1024) hungry", "256) hungry"), 1024, r"hungry \(it\) needs \d+ registers for each of 1024"),
        (TABLE, 32, r"table \(it\) has 400 bytes of local memory"),
    ],
)
def test_what_would_be_slow_or_refused_is_reported(text: str, threads: int, complaint: str) -> None:
    (name,) = re.findall(r"(\w+)\(float", text)
    (found,) = complaints([Source(text, "it", {name: threads})], text, "sm_80")
    assert re.search(complaint, found)


def test_results_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCORE_CACHE_DIR", str(tmp_path))
    text = 'extern "C" __global__ void k(float *x) { x[0] = 1.0f; }'
    first = usage(text, "sm_80")
    monkeypatch.setattr(nvrtc.Nvrtc, "compile", None)
    assert usage(text, "sm_80") == first and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(TypeError):
        usage(text, "sm_90")


def test_devices_without_memory_have_the_shapes_asked_for() -> None:
    x = catalogue.Array((3, 4), "float32", (1, 3), 4)
    assert (x.shape, x.strides, x.size, x.ndim, x.data.ptr % 16) == ((3, 4), (4, 12), 12, 2, 4)
    assert not x.flags.c_contiguous and catalogue.Array((3, 4), "float32").flags.c_contiguous
