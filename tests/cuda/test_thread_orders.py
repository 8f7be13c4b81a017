"""Every family of kernels in check mode, in five orders of blocks and threads: no report, and the same bits."""

from __future__ import annotations

import pytest

from gradcore.backends.cuda import driver
from scripts import kernel_sample

ORDERS: list[str | int] = ["forward", "reverse", 1, 2, 3]


@pytest.mark.parametrize("family", kernel_sample.FAMILIES)
def test_no_report_and_the_same_bits_in_every_order(family: str, _cuda_reason: str | None) -> None:
    if _cuda_reason or not driver.emulated():
        pytest.skip(_cuda_reason or "the order of threads can be chosen on the emulated device alone")
    from gradcore.backends.emulator import using

    with using(mode="check", order=ORDERS[0]):
        expected = kernel_sample.run(family)
    assert expected
    for order in ORDERS[1:]:
        with using(order=order, mode="check"):
            found = kernel_sample.run(family)
        assert found.keys() == expected.keys()
        for name, array in found.items():
            assert array.dtype == expected[name].dtype
            # Bits: NaN equals NaN, and 0 is not -0.
            assert array.tobytes() == expected[name].tobytes(), f"{name}, order {order}"
