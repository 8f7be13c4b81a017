"""`DataLoader` with worker processes: the same batches, errors with their tracebacks, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from typing import Any

import numpy as np
import pytest

import gradcore as gc
from gradcore.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    TensorDataset,
    WeightedRandomSampler,
    get_worker_info,
)

# Python 3.12 and later say so of every fork of a process with threads: here, those of the CPU backend.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Rows(Dataset):
    """Sample i, large enough for a batch of them to go through shared memory."""

    def __init__(self, n: int, size: int = 5000, m: Any = gc):
        self.n, self.size, self.m = n, size, m

    def __getitem__(self, i: int) -> Any:
        m = self.m
        return {"x": m.full((self.size,), float(i)), "i": i, "name": f"n{i}", "none": [m.tensor([]), np.float64(i)]}

    def __len__(self) -> int:
        return self.n


class Stream(IterableDataset):
    """Numbers, a part of them in each worker."""

    def __init__(self, n: int, info: Any = get_worker_info):
        self.n, self.info = n, info

    def __iter__(self) -> Any:
        found = self.info()
        first, step = (0, 1) if found is None else (found.id, found.num_workers)
        return iter(range(first, self.n, step))

    def __len__(self) -> int:
        return self.n


class Asked(Dataset):
    """What a worker says of itself."""

    def __getitem__(self, i: int) -> Any:
        info = get_worker_info()
        numbers = (random.random(), float(np.random.rand()), gc.rand(1).item())
        return (info and (info.id, info.num_workers, info.seed, info.dataset is self)), numbers, os.getpid()

    def __len__(self) -> int:
        return 8


class Failing(Dataset):
    def __init__(self, fail: Any):
        self.fail = fail

    def __getitem__(self, i: int) -> int:
        if i == 3:
            self.fail()
        return i

    def __len__(self) -> int:
        return 8


class TwoArguments(Exception):
    def __init__(self, a: int, b: int):
        super().__init__(a, b)


def _raise(error: BaseException) -> None:
    raise error


def plain(value: Any) -> Any:
    """A batch of either library as lists."""
    if hasattr(value, "tolist"):
        return str(value.dtype).split(".")[-1], value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def same(a: Any) -> Any:
    return a


def children() -> set[int]:
    return {p.pid for p in multiprocessing.active_children()}


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Any:
    before = children()
    yield
    assert children() == before


# ---------------------------------------------------------------- the same batches
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("options", [{}, {"drop_last": True}, {"batch_size": None}, {"prefetch_factor": 1}], ids=str)
def test_batches_are_pytorchs(workers: int, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    given = {"batch_size": 3, **options}
    order = [4, 1, 9, 3, 3, 0, 7]
    ours = list(DataLoader(Rows(10), sampler=order, num_workers=workers, **given))
    given.pop("prefetch_factor", None)
    theirs = torch.utils.data.DataLoader(Rows(10, m=torch), sampler=order, **given)
    assert plain(ours) == plain(list(theirs))


def test_spawned_workers_and_dtypes() -> None:
    tensors = [gc.arange(40000).reshape(4, -1).to(d) for d in (gc.bfloat16, gc.float16, gc.float64, gc.int8, gc.bool)]
    loader = DataLoader(TensorDataset(*tensors), batch_size=2, num_workers=1, multiprocessing_context="spawn")
    for start, batch in zip((0, 2), loader):
        for found, whole in zip(batch, tensors):
            assert found.dtype is whole.dtype and bool((found == whole[start : start + 2]).all())
            found[0] = 0  # it is nobody else's


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
@pytest.mark.parametrize("workers", [0, 2, 3])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_streams(workers: int, batch_size: int | None) -> None:
    torch = pytest.importorskip("torch")

    class Theirs(torch.utils.data.IterableDataset):  # type: ignore[name-defined, misc]
        def __iter__(self) -> Any:
            return iter(Stream(23, torch.utils.data.get_worker_info))

    ours = list(DataLoader(Stream(23), batch_size=batch_size, num_workers=workers))
    theirs = list(torch.utils.data.DataLoader(Theirs(), batch_size=batch_size, num_workers=workers))
    assert plain(ours) == plain(theirs)


def test_a_stream_longer_than_it_said() -> None:
    class Twice(Stream):
        def __iter__(self) -> Any:
            return iter(range(2 * self.n))

    loader = DataLoader(Twice(2), batch_size=None)
    assert len(loader) == 2
    with pytest.warns(UserWarning) as warned:
        assert len(list(loader)) == 4
    assert ["but 3 samples" in str(w.message) for w in warned] == [True, False]
    assert "was reported to be 2 (when accessing len(dataloader))" in str(warned[0].message)


def test_out_of_order() -> None:
    loader = DataLoader(_Slow(), batch_size=None, num_workers=2, prefetch_factor=1, in_order=False)
    assert list(loader)[-1] == 0  # the slow one
    loader = DataLoader(_Slow(), batch_size=None, num_workers=2)
    assert list(loader) == list(range(6))


class _Slow(Dataset):
    def __getitem__(self, i: int) -> int:
        if i == 0:
            time.sleep(1.0)
        return i

    def __len__(self) -> int:
        return 6


# ---------------------------------------------------------------- what workers know
def test_seeds_follow_from_the_generator() -> None:
    def run(seed: int, workers: int = 2) -> Any:
        generator = gc.Generator().manual_seed(seed)
        loader = DataLoader(
            Asked(), batch_size=None, shuffle=True, num_workers=workers, generator=generator, collate_fn=same
        )
        return [[(info, numbers) for info, numbers, _ in loader] for _ in range(2)]

    first, again, other = run(1), run(1), run(2)
    assert first == again != other
    assert first[0] != first[1]
    seeds = {info[0]: info[2] for info, _ in first[0]}
    assert seeds[1] == seeds[0] + 1 and all(info[1] == 2 and info[3] for info, _ in first[0])
    assert len({numbers for epoch in first for _, numbers in epoch}) == 16
    assert run(1, 0)[0][0][0] is None and get_worker_info() is None


def test_the_order_does_not_depend_on_the_workers() -> None:
    orders = []
    for workers in (0, 2):
        gc.manual_seed(3)
        loader = DataLoader(range(12), batch_size=4, shuffle=True, num_workers=workers)  # type: ignore[arg-type]
        orders.append([batch.tolist() for _ in range(2) for batch in loader])
        orders.append(gc.rand(1).item())
    assert orders[:2] == orders[2:]


def test_init_and_persistent_workers() -> None:
    def init(id: int) -> None:
        info = get_worker_info()
        assert info is not None
        info.dataset.mark = id * 10

    class Marked(Dataset):
        mark = None

        def __getitem__(self, i: int) -> Any:
            return self.mark, os.getpid()

        def __len__(self) -> int:
            return 4

    options = {"batch_size": None, "num_workers": 2, "worker_init_fn": init, "collate_fn": same}
    loader = DataLoader(Marked(), persistent_workers=True, **options)  # type: ignore[arg-type]
    first = list(loader)
    assert [mark for mark, _ in first] == [0, 10, 0, 10] and list(loader) == first
    stopped = iter(loader)
    next(stopped)
    assert list(loader) == first  # what the iteration before it had ordered does not come
    with pytest.raises(RuntimeError, match="at another iteration"):
        next(stopped)
    del stopped, loader
    loader = DataLoader(Marked(), **options)  # type: ignore[arg-type]
    assert {pid for _, pid in loader}.isdisjoint({pid for _, pid in loader})


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (ValueError("bad sample"), ValueError),
        (KeyError("k"), KeyError),
        (StopIteration("x"), StopIteration),
        (TwoArguments(1, 2), RuntimeError),  # as it takes more than a message
    ],
    ids=repr,
)
def test_an_error_carries_the_workers_traceback(error: Exception, raised: type[Exception]) -> None:
    batches = iter(DataLoader(Failing(lambda: _raise(error)), batch_size=2, num_workers=1))
    assert next(batches).tolist() == [0, 1]
    with pytest.raises(raised) as caught:
        next(batches)
    text = str(caught.value)
    assert text.startswith(f"Caught {type(error).__name__} in DataLoader worker process 0.\nOriginal Traceback (most")
    assert "in _raise" in text
    assert next(batches).tolist() == [4, 5]  # it goes on
    del batches, caught
    assert not children()


def test_an_error_in_the_init_function() -> None:
    loader = DataLoader(range(4), num_workers=1, worker_init_fn=lambda id: _raise(ValueError("not ready")))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Caught ValueError in DataLoader worker process 0"):
        list(loader)


def test_what_cannot_be_sent_is_an_error() -> None:
    loader = DataLoader(range(4), num_workers=1, collate_fn=lambda batch: lambda: batch)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="in DataLoader worker process 0"):
        list(loader)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_worker_is_noticed() -> None:
    loader = DataLoader(Failing(lambda: os.kill(os.getpid(), signal.SIGKILL)), batch_size=1, num_workers=1)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid\(s\) \d+\) exited unexpectedly") as caught:
        list(loader)
    assert "is killed by signal: Killed" in str(caught.value.__cause__)
    del caught
    loader = DataLoader(Failing(lambda: os._exit(7)), batch_size=1, num_workers=1)
    with pytest.raises(RuntimeError, match="exited unexpectedly") as caught:
        list(loader)
    assert "exit code 7" in str(caught.value.__cause__)


def test_timeout() -> None:
    batches = iter(DataLoader(_Slow(), num_workers=1, timeout=0.2))
    with pytest.raises(RuntimeError, match=r"DataLoader timed out after 0\.2 seconds"):
        next(batches)


def test_too_many_workers_are_a_warning() -> None:
    with pytest.warns(UserWarning, match="This DataLoader will create 1000 worker processes in total"):
        loader = DataLoader(range(3), num_workers=1000)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size attribute should not be set after DataLoader is initialized"):
        loader.batch_size = 3


# ---------------------------------------------------------------- nothing left behind
def test_a_dropped_iteration_ends_its_workers() -> None:
    before, start = children(), time.monotonic()
    for batch in DataLoader(Rows(1000, 100_000), batch_size=8, num_workers=2):
        assert batch["i"].tolist() == list(range(8))
        break
    del batch
    assert children() == before
    assert time.monotonic() - start < 30


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_no_file_stays_open() -> None:
    counts = []
    for _ in range(3):
        batches = iter(DataLoader(Rows(40), batch_size=4, num_workers=1))
        kept = [next(batches), next(batches)]
        del batches, kept
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[0] == counts[2]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm")
def test_no_memory_is_left_by_killed_processes(tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys, time
            import gradcore as gc
            from gradcore.utils.data import DataLoader, TensorDataset

            loader = DataLoader(TensorDataset(gc.zeros(64, 50_000)), batch_size=8, num_workers=2)
            for i, (batch,) in enumerate(loader):
                if i == 1:
                    print(*(p.pid for p in __import__("multiprocessing").active_children()), flush=True)
                    if sys.argv[1] == "kill":
                        os.kill(os.getpid(), signal.SIGKILL)
                    time.sleep(30)
            """
        )
    )
    before = set(os.listdir("/dev/shm"))
    for how in ("kill", "interrupt"):
        process = subprocess.Popen(
            [sys.executable, str(script), how],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        if how == "interrupt":
            os.killpg(process.pid, signal.SIGINT)  # Ctrl-C: to the whole group
        text = process.communicate(timeout=40)[1]
        if how == "interrupt":
            assert text.count("Traceback") == 1 and "KeyboardInterrupt" in text
        deadline = time.monotonic() + 20
        while any(_alive(pid) for pid in workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not any(_alive(pid) for pid in workers)
    assert set(os.listdir("/dev/shm")) <= before


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---------------------------------------------------------------- pinned memory
def test_pinned_batches(_cuda_reason: str | None) -> None:
    if _cuda_reason is not None:
        pytest.skip(_cuda_reason)
    x = gc.arange(6).reshape(3, 2).float()
    assert not x.is_pinned() and x.pin_memory().is_pinned() and x.pin_memory()[1:].is_pinned()
    for workers in (0, 1):
        loader = DataLoader(StackDataset(x=x, n=range(3)), batch_size=3, pin_memory=True, num_workers=workers)
        (batch,) = loader
        assert batch["x"].is_pinned() and batch["n"].is_pinned()
        assert batch["x"].to("cuda").tolist() == x.tolist() and batch["n"].tolist() == [0, 1, 2]
    pinned = x.pin_memory()
    assert pinned.pin_memory() is pinned
    with pytest.raises(RuntimeError, match="only dense CPU tensors can be pinned"):
        x.to("cuda").pin_memory()


def test_nothing_to_pin_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcore.cuda.is_available", lambda: False)
    with pytest.warns(UserWarning, match="'pin_memory' argument is set as true but no accelerator is found"):
        assert [b.tolist() for b in DataLoader(range(2), pin_memory=True)] == [[0], [1]]  # type: ignore[arg-type]


# ---------------------------------------------------------------- datasets and samplers
def test_datasets_of_datasets() -> None:
    torch = pytest.importorskip("torch").utils.data
    for m in (gc.utils.data, torch):
        rows = m.ConcatDataset([range(3), [7, 8]])
        assert [rows[i] for i in (0, 2, 3, 4, -1, -5)] == [0, 2, 7, 8, 8, 0] and len(rows) == 5
        with pytest.raises(ValueError, match="absolute value of index should not exceed dataset length"):
            rows[-6]
        with pytest.raises(IndexError):
            rows[5]
        stacked = m.StackDataset(range(3), "abc")
        assert stacked[1] == (1, "b") and stacked.__getitems__([0, 2]) == [(0, "a"), (2, "c")] and len(stacked) == 3
        named = m.StackDataset(n=range(3), s=rows.__class__([[4, 5, 6]]))
        assert named[1] == {"n": 1, "s": 5} and named.__getitems__([0]) == [{"n": 0, "s": 4}]
        for arguments in (([1], [1, 2]), ()):
            with pytest.raises(ValueError):
                m.StackDataset(*arguments)
        with pytest.raises(AssertionError, match="datasets should not be an empty iterable"):
            m.ConcatDataset([])
        with pytest.raises(AssertionError, match="ChainDataset only supports IterableDataset"):
            list(m.ChainDataset([range(3)]))
    both = Stream(2) + Stream(3)
    assert isinstance(both, ChainDataset) and list(both) == [0, 1, 0, 1, 2] and len(both) == 5
    assert isinstance(Rows(1) + Rows(2), ConcatDataset)


def test_weighted_sampling() -> None:
    gc.manual_seed(0)
    drawn = list(WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    assert set(drawn) == {1, 2} and abs(drawn.count(2) / 4000 - 0.75) < 0.03
    assert sorted(WeightedRandomSampler([0.2, 0.4, 0.4], 3, replacement=False)) == [0, 1, 2]
    torch = pytest.importorskip("torch").utils.data
    for m in (gc.utils.data, torch):
        for arguments in (([1.0], 0), ([1.0], True), ([[1.0]], 1), ([1.0], 1, 3)):
            with pytest.raises(ValueError):
                m.WeightedRandomSampler(*arguments)
