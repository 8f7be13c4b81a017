"""A stand-in for `cudnn` of nvidia-cudnn-frontend: graphs of one operation, executed by NumPy in the emulated memory.

It has what gradcore calls, with the parameters of the real package (tests/cuda/test_libraries.py compares them where
that is installed), and follows the addresses, strides and uids it is given, so a wrong one gives a wrong result.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from itertools import product
from typing import Any

import ml_dtypes
import numpy as np

from gradcore.backends.emulator.memory import strided


class data_type(enum.Enum):  # noqa: N801
    NOT_SET = None
    HALF = np.float16
    BFLOAT16 = ml_dtypes.bfloat16
    FLOAT = np.float32
    DOUBLE = np.float64


class heur_mode(enum.Enum):  # noqa: N801
    A = 0
    FALLBACK = 2


class numerical_note(enum.Enum):  # noqa: N801
    TENSOR_CORE = 0
    DOWN_CONVERT_INPUTS = 1
    NONDETERMINISTIC = 4


class cudnnGraphNotSupportedError(RuntimeError):  # noqa: N801
    pass


class Handle:
    stream = 0


# What happened: graphs planned and executed, as (operation, attributes, notes refused, stream).
planned: list[pygraph] = []
executed: list[tuple[str, dict[str, Any], list[numerical_note], int]] = []
# Operations that are refused when they are planned, and that fail when they are executed.
refused: set[str] = set()
failing: set[str] = set()


def reset() -> None:
    for record in (planned, executed, refused, failing):
        record.clear()


def backend_version() -> int:
    return 92800


def create_handle() -> Handle:
    return Handle()


def set_stream(handle: Handle, stream: int) -> None:
    handle.stream = stream


class Tensor:
    def __init__(self, dim: Any = (), stride: Any = (), kind: data_type = data_type.NOT_SET) -> None:
        self.dim, self.stride, self.kind, self.uid, self.output = tuple(dim), tuple(stride), kind, -1, False

    def set_output(self, value: bool) -> Tensor:
        self.output = value
        return self

    def set_data_type(self, dtype: data_type) -> Tensor:
        self.kind = dtype
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = tuple(dim)
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = tuple(stride)
        return self

    def set_uid(self, uid: int) -> Tensor:
        self.uid = uid
        return self

    def read(self, address: int, writable: bool = False) -> np.ndarray:
        size = np.dtype(self.kind.value).itemsize
        return strided(address, self.dim, tuple(s * size for s in self.stride), self.kind.value, writable)


class pygraph:  # noqa: N801
    WORKSPACE = 1000

    def __init__(
        self,
        name: str = "",
        io_data_type: data_type = data_type.NOT_SET,
        intermediate_data_type: data_type = data_type.NOT_SET,
        compute_data_type: data_type = data_type.NOT_SET,
        handle: Any = None,
    ) -> None:
        assert isinstance(handle, Handle)
        self.handle, self.compute = handle, compute_data_type.value
        self.inputs: dict[str, Tensor] = {}
        self.outputs: list[Tensor] = []
        self.attributes: dict[str, Any] = {}
        self.operation, self.notes, self.state = "", [], "new"

    def tensor(self, dim: Any, stride: Any, data_type: data_type, name: str = "") -> Tensor:
        assert len(dim) == len(stride) >= 4 and all(d > 0 for d in (*dim, *stride))
        return Tensor(dim, stride, data_type)

    def _make(self, operation: str, count: int, inputs: dict[str, Tensor], **attributes: Any) -> list[Tensor]:
        self.operation, self.inputs, self.attributes = operation, inputs, attributes
        self.outputs = [Tensor() for _ in range(count)]
        return self.outputs

    def _slide(self, operation: str, inputs: dict[str, Tensor], *geometry: Any) -> Tensor:
        return self._make(operation, 1, inputs, **dict(zip(("pre", "post", "stride", "dilation"), geometry)))[0]

    def conv_fprop(
        self, image: Tensor, weight: Tensor, pre_padding: Any, post_padding: Any, stride: Any, dilation: Any
    ) -> Tensor:
        return self._slide(
            "conv_fprop", {"image": image, "weight": weight}, pre_padding, post_padding, stride, dilation
        )

    def conv_dgrad(
        self, loss: Tensor, filter: Tensor, pre_padding: Any, post_padding: Any, stride: Any, dilation: Any
    ) -> Tensor:
        return self._slide("conv_dgrad", {"loss": loss, "weight": filter}, pre_padding, post_padding, stride, dilation)

    def conv_wgrad(
        self, image: Tensor, loss: Tensor, pre_padding: Any, post_padding: Any, stride: Any, dilation: Any
    ) -> Tensor:
        return self._slide("conv_wgrad", {"image": image, "loss": loss}, pre_padding, post_padding, stride, dilation)

    def sdpa(
        self, q: Tensor, k: Tensor, v: Tensor, is_inference: bool, attn_scale: float, use_causal_mask: bool = False
    ) -> list[Tensor]:
        assert not is_inference
        return self._make("sdpa", 2, {"q": q, "k": k, "v": v}, scale=attn_scale, causal=use_causal_mask)

    def sdpa_backward(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        o: Tensor,
        dO: Tensor,  # noqa: N803
        stats: Tensor,
        attn_scale: float,
        use_causal_mask: bool = False,
        use_deterministic_algorithm: bool = False,
    ) -> list[Tensor]:
        assert stats.kind is data_type.FLOAT
        inputs = {"q": q, "k": k, "v": v, "o": o, "dO": dO, "stats": stats}
        settings = {"scale": attn_scale, "causal": use_causal_mask, "deterministic": use_deterministic_algorithm}
        return self._make("sdpa_backward", 3, inputs, **settings)

    # -- planning, in the order that the real graphs want
    def _step(self, before: str, after: str) -> None:
        assert self.state == before, f"{after} after {self.state}"
        self.state = after

    def validate(self) -> None:
        self._step("new", "valid")
        tensors = [*self.inputs.values(), *self.outputs]
        assert sorted(t.uid for t in tensors) == list(range(1, len(tensors) + 1))
        assert all(t.output and t.dim and t.kind is not data_type.NOT_SET for t in self.outputs)
        assert all(len(t.dim) == len(t.stride) and min(t.stride) > 0 for t in self.outputs)
        if self.operation.startswith("conv"):
            self._check_geometry()

    def _check_geometry(self) -> None:
        named = {
            **self.inputs,
            {"fprop": "loss", "dgrad": "image", "wgrad": "weight"}[self.operation[5:]]: self.outputs[0],
        }
        image, weight, loss = (named[name].dim for name in ("image", "weight", "loss"))
        assert image[0] == loss[0] and weight[0] == loss[1] and image[1] % weight[1] == 0
        assert weight[0] % (image[1] // weight[1]) == 0
        a = self.attributes
        for n, kernel, o, pre, post, stride, dilation in zip(
            image[2:], weight[2:], loss[2:], a["pre"], a["post"], a["stride"], a["dilation"], strict=True
        ):
            assert pre >= 0 <= post and (n + pre + post - (kernel - 1) * dilation - 1) // stride + 1 == o

    def build_operation_graph(self) -> None:
        self._step("valid", "built")

    def create_execution_plans(self, heuristics: list[heur_mode]) -> None:
        self._step("built", "proposed")

    def deselect_numeric_notes(self, notes: list[numerical_note]) -> None:
        assert self.state == "proposed"
        self.notes = list(notes)

    def check_support(self) -> None:
        self._step("proposed", "supported")
        if self.operation in refused:
            raise cudnnGraphNotSupportedError(f"No valid engine configs for {self.operation}")

    def build_plans(self) -> None:
        self._step("supported", "planned")
        planned.append(self)

    def get_workspace_size(self) -> int:
        assert self.state == "planned"
        return self.WORKSPACE

    # -- execution
    def execute(self, tensor_dict: dict[int, int], workspace: int, handle: Any = None) -> None:
        assert self.state == "planned" and handle is self.handle
        if self.operation in failing:
            raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
        assert all(type(x) is int for x in (*tensor_dict, *tensor_dict.values(), workspace))
        strided(workspace, (self.WORKSPACE,), (1,), np.uint8, writable=True)[...] = 255
        inputs = {name: t.read(tensor_dict[t.uid]).astype(self.compute) for name, t in self.inputs.items()}
        if self.operation.startswith("conv"):
            found = [_convolve(self.operation, inputs, self.outputs[0].dim, **self.attributes)]
        elif self.operation == "sdpa":
            found = _attend(**inputs, **self.attributes)
        else:
            found = _attend_backward(**inputs, **self.attributes)
        for tensor, result in zip(self.outputs, found, strict=True):
            tensor.read(tensor_dict[tensor.uid], writable=True)[...] = result
        executed.append((self.operation, self.attributes, self.notes, handle.stream))


def _taps(kernel: Any, out: Any, stride: Any, dilation: Any) -> Iterator[tuple[Any, Any]]:
    """Each place of the kernel, and where in the padded image it lies for all places of the output."""
    for at in product(*map(range, kernel)):
        yield at, tuple(slice(k * d, k * d + (o - 1) * s + 1, s) for k, d, o, s in zip(at, dilation, out, stride))


def _convolve(
    operation: str, inputs: dict[str, np.ndarray], shape: Any, pre: Any, post: Any, stride: Any, dilation: Any
) -> np.ndarray:
    missing = {"conv_fprop": "loss", "conv_dgrad": "image", "conv_wgrad": "weight"}[operation]
    dtype = next(iter(inputs.values())).dtype
    arrays = {**inputs, missing: np.zeros(shape, dtype)}
    image, weight, loss = arrays["image"], arrays["weight"], arrays["loss"]
    padded = np.pad(image, [(0, 0), (0, 0), *zip(pre, post, strict=True)])
    groups, each = image.shape[1] // weight.shape[1], weight.shape[0] // (image.shape[1] // weight.shape[1])
    for group in range(groups):
        channels = slice(group * weight.shape[1], (group + 1) * weight.shape[1])
        filters = slice(group * each, (group + 1) * each)
        for at, places in _taps(weight.shape[2:], loss.shape[2:], stride, dilation):
            x, w, y = (slice(None), channels, *places), (filters, slice(None), *at), (slice(None), filters)
            if missing == "loss":
                loss[y] += np.einsum("nc...,oc->no...", padded[x], weight[w])
            elif missing == "image":
                padded[x] += np.einsum("no...,oc->nc...", loss[y], weight[w])
            else:
                a, b = (z.reshape(*z.shape[:2], -1) for z in (padded[x], loss[y]))
                weight[w] += np.einsum("ncp,nop->oc", a, b)
    inside = tuple(slice(p, p + n) for p, n in zip(pre, image.shape[2:]))
    return padded[(slice(None), slice(None), *inside)] if missing == "image" else arrays[missing]


def _probabilities(q: np.ndarray, k: np.ndarray, scale: float, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    scores = scale * np.einsum("bhne,bhme->bhnm", q, k)
    if causal:
        n, m = scores.shape[2:]
        scores = np.where(np.arange(n)[:, None] >= np.arange(m), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    total = np.exp(scores - top).sum(-1, keepdims=True)
    return np.exp(scores - top) / total, top + np.log(total)


def _attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, causal: bool) -> tuple[np.ndarray, np.ndarray]:
    p, stats = _probabilities(q, k, scale, causal)
    return np.einsum("bhnm,bhmf->bhnf", p, v), stats


def _attend_backward(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    o: np.ndarray,
    dO: np.ndarray,  # noqa: N803
    stats: np.ndarray,
    scale: float,
    causal: bool,
    deterministic: bool,
) -> tuple[np.ndarray, ...]:
    p, expected = _probabilities(q, k, scale, causal)
    assert np.allclose(stats, expected, rtol=1e-2, atol=1e-2)
    slopes = scale * p * (np.einsum("bhnf,bhmf->bhnm", dO, v) - (dO * o).sum(-1, keepdims=True))
    return (
        np.einsum("bhnm,bhme->bhne", slopes, k),
        np.einsum("bhnm,bhne->bhme", slopes, q),
        np.einsum("bhnm,bhnf->bhmf", p, dO),
    )
