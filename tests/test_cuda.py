"""`gradcore.cuda`: devices, streams, events and memory, by PyTorch's names."""

from __future__ import annotations

import copy
import gc as collector
import pickle
import threading
from typing import Any

import numpy as np
import pytest
from test_errors import python

import gradcore as gc
from gradcore import cuda
from gradcore.backends.cuda.memory import device_memory

pytestmark = pytest.mark.parametrize("device", ["cuda"], indirect=True)

BLOCK = 512  # bytes: the pool hands out whole ones


def blocks(n: int) -> int:
    """The bytes that an array of n bytes takes."""
    return -(-n // BLOCK) * BLOCK


@pytest.fixture
def held(device) -> int:
    """The bytes in use at the start of a test, from where the peaks count."""
    gc.zeros(1, device=device)
    collector.collect()
    cuda.reset_peak_memory_stats()
    return cuda.memory_allocated()


# ---------------------------------------------------------------- devices
def test_devices(device):
    assert cuda.is_available() and cuda.device_count() >= 1 and cuda.is_bf16_supported()
    cuda.init()
    assert cuda.is_initialized()
    assert cuda.current_device() == 0
    found = cuda.get_device_properties()
    assert cuda.get_device_name("cuda:0") == cuda.get_device_name(0) == found.name
    assert cuda.get_device_capability(gc.device("cuda")) == (found.major, found.minor) >= (7, 0)
    assert found.total_memory == cuda.mem_get_info()[1] > cuda.mem_get_info()[0] > 0
    assert found.multi_processor_count > 0 and found.warp_size == 32
    for context in (cuda.device(0), cuda.device("cuda:0"), cuda.device(-1), cuda.device(None)):
        with context:
            assert cuda.current_device() == 0
    cuda.set_device(0)
    cuda.set_device(-1)
    with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
        cuda.synchronize("cpu")
    absent = cuda.device_count()
    for use in (cuda.set_device, cuda.get_device_name, cuda.Stream, cuda.memory_allocated, cuda.device):
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            use(absent)
    assert cuda.current_device() == 0


def test_random_numbers(device):
    cuda.manual_seed(3)
    state, states = cuda.get_rng_state(), cuda.get_rng_state_all()
    first = gc.rand(5, device=device)
    cuda.set_rng_state(state)
    assert (gc.rand(5, device=device) == first).all()
    cuda.set_rng_state_all(states)
    assert (gc.rand(5, device=device) == first).all()


# ---------------------------------------------------------------- streams and events
def test_the_current_stream(device):
    default = cuda.current_stream()
    assert default == cuda.default_stream() and default.cuda_stream == 0 and str(default.device) == "cuda:0"
    one, other = cuda.Stream(), cuda.Stream("cuda:0", priority=-1)
    assert len({one, other, default, cuda.current_stream()}) == 3 and one != 1 and other.priority < one.priority == 0
    with cuda.stream(one):
        assert cuda.current_stream() == one
        with other, cuda.stream(None):
            assert cuda.current_stream(0) == other
            with other:
                assert cuda.current_stream() == other
        assert cuda.current_stream() == one
    assert cuda.current_stream() == default
    with pytest.raises(KeyError), one:
        raise KeyError
    assert cuda.current_stream() == default
    cuda.set_stream(None)
    cuda.set_stream(one)
    try:
        assert cuda.current_stream() == one
    finally:
        cuda.set_stream(default)
    assert repr(one) == f"<gradcore.cuda.Stream device=cuda:0 cuda_stream={one.cuda_stream:#x}>"
    external = cuda.ExternalStream(one.cuda_stream, 0)
    assert external == one and external.__cuda_stream__() == (0, one.cuda_stream)


def test_work_goes_to_the_current_stream(device, monkeypatch):
    """Kernels, copies and allocations: no launch names a stream of its own."""
    xp = gc.zeros(1, device=device)._array.__class__.__module__
    if not xp.startswith("gradcore"):
        pytest.skip("seen on the emulated device")
    from gradcore.backends.emulator import module

    seen = []
    launch = module.Kernel.__call__

    def watched(self: Any, grid: Any, block: Any, args: Any, **options: Any) -> None:
        seen.append((cuda.current_stream(), options.get("stream")))
        launch(self, grid, block, args, **options)

    monkeypatch.setattr(module.Kernel, "__call__", watched)
    side = cuda.Stream()
    x = gc.randn(4, 5, device=device, requires_grad=True)
    seen.clear()
    with cuda.stream(side):
        loss = gc.nn.functional.cross_entropy(x * 2, gc.tensor([0, 1, 2, 3], device=device))
        loss.backward()
        gc.optim.SGD([x], lr=0.1).step()
    assert len(seen) > 4 and set(seen) == {(side, None)}


def test_streams_of_threads(device):
    found = []
    with cuda.Stream():
        thread = threading.Thread(target=lambda: found.append(cuda.current_stream()))
        thread.start()
        thread.join()
    assert found == [cuda.default_stream()]


def test_waiting(device):
    x = gc.randn(64, 64, device=device)
    side = cuda.Stream()
    side.wait_stream(cuda.current_stream())
    with cuda.stream(side):
        y = x @ x
        done = side.record_event()
    cuda.current_stream().wait_event(done)
    z = y + 1
    cuda.current_stream().wait_stream(side)
    done.synchronize()
    side.synchronize()
    assert done.query() and side.query()
    np.testing.assert_allclose(z.cpu().numpy(), (x.cpu() @ x.cpu() + 1).numpy(), 1e-4, 1e-4)


def test_events(device):
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True, blocking=True)
    assert start.query() and start.device is None and "uninitialized" in repr(start)
    start.synchronize()  # nothing to wait for
    start.wait()
    with pytest.raises(ValueError, match="Both events must be recorded before calculating elapsed time."):
        start.elapsed_time(end)
    start.record()
    with pytest.raises(ValueError, match="Both events must be recorded"):
        start.elapsed_time(end)
    gc.randn(100, 100, device=device).exp()
    end.record(cuda.current_stream())
    cuda.synchronize()
    assert 0 <= start.elapsed_time(end) < 1e5 and end.query() and str(end.device) == "cuda:0"
    untimed = cuda.Event()
    assert cuda.current_stream().record_event(untimed) is untimed
    with pytest.raises(ValueError, match="Both events must be created with argument 'enable_timing=True'."):
        start.elapsed_time(untimed)


def test_a_bad_index_in_another_stream(device):
    """It is reported by the next wait, wherever that is."""
    table = gc.zeros(5, 3, device=device)
    side = cuda.Stream()
    wait = (cuda.synchronize, side.synchronize, lambda: table.sum().item())
    for finish in wait:
        with pytest.raises(IndexError, match="index 7 is out of bounds for dimension 0 with size 5"):
            with cuda.stream(side):
                table[gc.tensor([0, 7], device=device)]
            finish()
        finish()


# ---------------------------------------------------------------- memory
def test_what_is_allocated(device, held):
    x = gc.zeros(1000, device=device)
    assert cuda.memory_allocated() == held + blocks(4000) == cuda.max_memory_allocated()
    view = x[10:]
    y = x + view.sum()
    del x
    assert cuda.memory_allocated(0) == held + 2 * blocks(4000)
    del view, y
    assert cuda.memory_allocated("cuda:0") == held
    assert cuda.memory_reserved() >= cuda.memory_allocated() and cuda.max_memory_reserved() >= cuda.memory_reserved()


@pytest.mark.parametrize("seed", range(3))
def test_the_peak_is_exact(device, held, seed):
    """After each of many allocations and frees it is the most that was in use until then."""
    chance = np.random.default_rng(seed)
    alive: list[Any] = []
    now = most = 0
    for _ in range(300):
        if alive and chance.random() < 0.5:
            now -= blocks(alive.pop(chance.integers(len(alive))).nbytes)
        else:
            alive.append(gc.empty(int(chance.integers(1, 5000)), device=device))
            now += blocks(alive[-1].nbytes)
            most = max(most, now)
        if chance.random() < 0.1:
            assert (cuda.memory_allocated(), cuda.max_memory_allocated()) == (held + now, held + most)
        if chance.random() < 0.02:
            cuda.reset_peak_memory_stats()
            most = now
    alive.clear()
    assert (cuda.memory_allocated(), cuda.max_memory_allocated()) == (held, held + most)


def test_the_peak_of_a_computation(device, held):
    """What was needed in between counts: here a matrix that is gone when the call returns."""
    x = gc.ones(256, 1, device=device)
    base = cuda.memory_allocated()
    (x @ x.T).sum()
    assert cuda.max_memory_allocated() >= base + 256 * 256 * 4
    assert cuda.memory_allocated() <= base + BLOCK
    cuda.reset_peak_memory_stats()
    assert cuda.max_memory_allocated() == cuda.memory_allocated()


def test_statistics(device, held):
    stats = cuda.memory_stats()
    assert stats["allocated_bytes.all.current"] == held and stats["reserved_bytes.all.peak"] >= held
    x = gc.zeros(3 << 20, dtype=gc.uint8, device=device)
    text = cuda.memory_summary()
    assert [row.split()[0] for row in text.splitlines()[1:]] == ["allocated", "reserved"] and "MiB" in text
    del x
    cuda.empty_cache()
    assert cuda.memory_allocated() == held


def test_threads(device, held):
    made = []

    def work() -> None:
        for _ in range(20):
            made.append(gc.empty(1000, device=device))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cuda.max_memory_allocated() == cuda.memory_allocated() == held + 80 * blocks(4000)


def test_out_of_memory(device, held):
    x = gc.zeros(1000, device=device)
    total = cuda.mem_get_info()[1]
    cuda.set_per_process_memory_fraction((cuda.memory_reserved() + (1 << 20)) / total)
    try:
        with pytest.raises(
            cuda.OutOfMemoryError, match="CUDA out of memory. Tried to allocate 4.00 MiB. GPU 0 has a"
        ) as e:
            x.repeat(1049)
        text = str(e.value)
        assert "is free" in text and f"hold {(held + 4096) / 1024:.2f} KiB" in text and "is limited to" in text
    finally:
        cuda.set_per_process_memory_fraction(0.0)
    assert isinstance(e.value, RuntimeError) and isinstance(e.value, MemoryError)
    xp = device_memory()._xp
    assert isinstance(e.value, xp.cuda.memory.OutOfMemoryError), "code written for CuPy catches CuPy's"
    for again in (pickle.loads(pickle.dumps(e.value)), copy.copy(e.value)):
        assert isinstance(again, gc.OutOfMemoryError) and str(again) == text
    assert x.repeat(1049).numel() == 1049000  # and on it goes
    with pytest.raises(ValueError, match="Invalid fraction value: 2.0. Allowed range: 0~1"):
        cuda.set_per_process_memory_fraction(2.0)


def test_an_allocator_of_the_users_own(device):
    """It stays where it is."""
    xp = device_memory()._xp
    before = xp.cuda.get_allocator()
    pool = xp.cuda.MemoryPool()
    xp.cuda.set_allocator(pool.malloc)
    try:
        type(device_memory())(xp)
        assert xp.cuda.get_allocator() == pool.malloc
    finally:
        xp.cuda.set_allocator(before)


# ---------------------------------------------------------------- without a device
def test_without_a_device(device):
    code = """
import gradcore as torch
cuda = torch.cuda
assert not cuda.is_available() and not cuda.is_initialized() and cuda.get_rng_state_all is not None
assert [getattr(cuda, n)() for n in ("memory_allocated", "max_memory_allocated", "memory_reserved")] == [0, 0, 0]
assert cuda.memory_allocated("cuda:1") == 0 and cuda.memory_stats() == {} and "0 bytes" in cuda.memory_summary()
cuda.empty_cache(); cuda.reset_peak_memory_stats(); cuda.manual_seed_all(1); cuda.set_device(-1)
with cuda.stream(None), cuda.device(-1):
    pass
uses = [cuda.Stream, cuda.Event, cuda.current_stream, cuda.default_stream, cuda.synchronize, cuda.current_device]
uses += [cuda.init, cuda.mem_get_info, cuda.get_device_name, lambda: cuda.set_device(0), lambda: cuda.device(0)]
for use in uses:
    try:
        use()
    except RuntimeError as error:
        assert "CUDA devices need CuPy" in str(error)
    else:
        raise AssertionError(use)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
