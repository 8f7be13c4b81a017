"""Sound kernels: right results and no report, in both modes and any order."""

import pytest
from emulator import cases

from gradcore.backends.emulator import using

ORDERS = ["forward", "reverse", 1, 2, 3]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("mode", ["fast", "check"])
@pytest.mark.parametrize("name", cases.ALL)
def test_sound_kernel(name, mode, order, request):
    if "softmax" in name:
        request.getfixturevalue("half_headers")
    with using(mode=mode, order=order):
        cases.ALL[name]()
