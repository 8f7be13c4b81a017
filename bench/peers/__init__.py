"""The subjects: gradcore as it is and on NumPy alone, and what it is compared with.

Each is loaded in a worker process of its own, with the settings that only the start of a process can take.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..lab import CudaLab, CupyLab, Lab

OWN = ("gradcore", "gradcore-numpy")


@dataclass(frozen=True)
class Subject:
    """How a subject is started. `settings` are environment variables; `{threads}` in them is the number of threads."""

    name: str
    distribution: str
    settings: Mapping[str, str] = field(default_factory=dict)
    cuda: bool = True


SUBJECTS = {
    s.name: s
    for s in (
        Subject("gradcore", "gradcore"),
        Subject("gradcore-numpy", "gradcore", {"GRADCORE_CPU": "numpy"}, cuda=False),
        Subject("torch", "torch"),
        Subject("torch.compile", "torch"),
        Subject("jax", "jax", {"NPROC": "{threads}", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen={eigen}"}),
        Subject("autograd", "autograd", cuda=False),
        Subject("mygrad", "mygrad", cuda=False),
        Subject("tinygrad", "tinygrad", {"DEV": "CPU", "CPU_COUNT": "{threads}"}, cuda=False),
    )
}
PEERS = tuple(name for name in SUBJECTS if name not in OWN)


def version(subject: str) -> str | None:
    """The installed version of a subject's distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(SUBJECTS[subject].distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment(subject: str, threads: int) -> dict[str, str]:
    """The environment of a worker: everything that counts threads reads it when it is first imported."""
    values = {"threads": str(threads), "eigen": "true" if threads > 1 else "false"}
    counts = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "GRADCORE_NUM_THREADS")
    settings = {name: text.format(**values) for name, text in SUBJECTS[subject].settings.items()}
    return {**os.environ, **dict.fromkeys(counts, str(threads)), **settings}


def load(subject: str, device: str, threads: int) -> Lab:
    """The lab of a subject, in this process. Raises what importing it raises, and RuntimeError if it cannot work."""
    emulated = os.environ.get("GRADCORE_CUDA") == "emulate"
    if subject in OWN:
        module = importlib.import_module("gradcore")
        if hasattr(module, "set_num_threads"):
            module.set_num_threads(threads)
        if device == "cuda" and not emulated:
            return CupyLab(subject, module, device)
        return Lab(subject, module, device)
    if subject in ("torch", "torch.compile"):
        module = importlib.import_module("torch")
        module.set_num_threads(threads)
        if device == "cuda" and emulated:
            device = "cpu"  # the reference of a run that checks results alone
        if device == "cuda" and not module.cuda.is_available():
            raise RuntimeError("this build of PyTorch has no CUDA device")
        lab: Lab = (CudaLab if device == "cuda" else Lab)(subject, module, device)
        if subject == "torch.compile":
            lab.compiled = module.compile  # type: ignore[method-assign]
        return lab
    made: Lab = importlib.import_module(f".{subject}_lab", __package__).load(device, threads)
    return made


def executor(subject: str, device: str) -> str:
    """How gradcore computes here: `native`, `numpy` or `cuda`; empty for the peers."""
    if subject not in OWN:
        return ""
    if device == "cuda":
        return "cuda"
    library = importlib.import_module("gradcore.backends.cpu.native.library")
    return "numpy" if os.environ.get("GRADCORE_CPU") == "numpy" or library.problem() else "native"
