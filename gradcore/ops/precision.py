"""What autocast does with the operands of an op: a property of its declaration.

On a device where autocast is on, floating point operands other than float64 are converted by the rule that the op, or
the function made of several ops, has for this type of device. Without a rule they stay as they are.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Rule(Enum):
    """How operands are converted."""

    LOWER = "to the lower precision"
    FLOAT32 = "to float32"
    WIDEST = "to the widest type among them"
    RESULT = "not, but the result is float32"
    QUOTIENT = "to float32 where a number is divided"
    BANNED = "never: the op is refused"


class Precision(NamedTuple):
    """The rules of an op by type of device; None for as they are."""

    cpu: Rule | None
    cuda: Rule | None


LOWER = Precision(Rule.LOWER, Rule.LOWER)
FLOAT32 = Precision(Rule.FLOAT32, Rule.FLOAT32)
CPU_LOWER = Precision(Rule.LOWER, None)
CPU_FLOAT32 = Precision(Rule.FLOAT32, None)
CPU_WIDEST = Precision(Rule.WIDEST, None)
CUDA_FLOAT32 = Precision(None, Rule.FLOAT32)
CUDA_WIDEST = Precision(None, Rule.WIDEST)
CUDA_RESULT = Precision(None, Rule.RESULT)
CUDA_QUOTIENT = Precision(None, Rule.QUOTIENT)
