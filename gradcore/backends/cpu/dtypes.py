"""Half precision on the CPU: computed in float32, rounded once at the end."""

from __future__ import annotations

import ml_dtypes
import numpy as np

F32 = np.dtype(np.float32)
HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
WIDER = dict.fromkeys(HALVES, F32)


def wide(dtype: np.dtype) -> np.dtype:
    """The dtype to compute and accumulate in."""
    return WIDER.get(dtype, dtype)
