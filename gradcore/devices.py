"""Device names: `device("cpu")`, `device("cuda")`, `device("cuda:1")`, `device("cuda", 1)`."""

from __future__ import annotations


class device:
    """A place for arrays: `type` is `"cpu"` or `"cuda"`, `index` the number of the GPU (None: the current one).

    >>> device("cuda:1")
    device(type='cuda', index=1)
    >>> device("cuda", 1) == device("cuda:1")
    True
    """

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: str | device | int, index: int | None = None):
        spec = type
        if isinstance(spec, device):
            self.type, self.index = spec.type, spec.index
            return
        if isinstance(spec, int):
            spec = f"cuda:{spec}"
        if not isinstance(spec, str):
            raise TypeError(f"device(): argument 'type' must be str, not {spec.__class__.__name__}")
        name, _, number = spec.partition(":")
        if name not in ("cpu", "cuda") or (number and not number.isdigit()) or spec.endswith(":"):
            raise RuntimeError(
                f"Expected one of cpu, cuda device type at start of device string, and an optional index: '{spec}'"
            )
        if number and index is not None:
            raise RuntimeError(f"type (string) must not include an index because index was passed explicitly: {spec}")
        self.type = name
        self.index = int(number) if number else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"


# What functions take for a device.
DeviceLike = device | str | int
