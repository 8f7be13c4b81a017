import pytest

from gradcore.backends.emulator import CompileError, is_supported
from gradcore.backends.emulator.toolchain import cuda_include


@pytest.fixture(autouse=True)
def emulated_device():
    """Skips tests where there is no emulated device."""
    supported, reason = is_supported()
    if not supported:
        pytest.skip(reason)


@pytest.fixture
def half_headers():
    try:
        cuda_include()
    except CompileError as error:
        pytest.skip(str(error))
