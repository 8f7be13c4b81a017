"""Recurrent modules; what they compute is in `gradcore.nn.functions.recurrent`."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ...autograd.grad_mode import mode
from ...tensor.creation import empty, zeros
from ...tensor.tensor import Tensor
from .. import init
from ..functions import recurrent
from ..parameter import Parameter
from ..utils.rnn import PackedSequence
from .module import Module

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def _reset(module: Any) -> None:
    bound = 1 / math.sqrt(module.hidden_size) if module.hidden_size > 0 else 0
    for weight in module.parameters():
        init.uniform_(weight, -bound, bound)


class RNNBase(Module):
    """What `RNN`, `LSTM` and `GRU` have in common; `mode` is `"LSTM"`, `"GRU"`, `"RNN_TANH"` or `"RNN_RELU"`.

    Parameters are those of PyTorch, for layer k: `weight_ih_lk` (gates * hidden_size, features), `weight_hh_lk` (gates
    * hidden_size, n), `bias_ih_lk` and `bias_hh_lk` (gates * hidden_size,), with `proj_size` `weight_hr_lk` (proj_size,
    hidden_size), and the same with `_reverse` for the other direction. They start uniform in [-1/sqrt(hidden_size),
    1/sqrt(hidden_size)].
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        _check(input_size, hidden_size, num_layers, bias, batch_first, dropout, proj_size)
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        self.mode = mode
        self.input_size, self.hidden_size, self.proj_size = input_size, hidden_size, proj_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional = float(dropout), bidirectional
        suffixes = ("", "_reverse") if bidirectional else ("",)
        width, size = _GATES[mode] * hidden_size, proj_size or hidden_size
        # The parameters' names, for each layer and direction.
        self._all_weights: list[list[str]] = []
        for k in range(num_layers):
            features = size * len(suffixes) if k else input_size
            shapes: tuple[tuple[int, ...], ...] = ((width, features), (width, size), (width,), (width,))
            shapes = (*shapes, (proj_size, hidden_size))
            wanted = (True, True, bias, bias, proj_size > 0)
            for suffix in suffixes:
                names = []
                for name, shape, want in zip(_NAMES, shapes, wanted):
                    if want:
                        names.append(f"{name}_l{k}{suffix}")
                        setattr(self, names[-1], Parameter(empty(*shape, device=device, dtype=dtype)))
                self._all_weights.append(names)
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        _reset(self)

    def flatten_parameters(self) -> None:
        """Does nothing; for compatibility."""

    def _weights(self) -> list[tuple[Any, ...]]:
        kinds = [n for n, there in zip(_NAMES, (True, True, self.bias, self.bias, self.proj_size > 0)) if there]
        return [
            tuple(found.get(name) for name in _NAMES)
            for found in (dict(zip(kinds, weights)) for weights in self.all_weights)
        ]

    def _run(self, input: Any, hx: tuple[Any, ...] | None) -> tuple[Any, tuple[Any, ...]]:
        """The hidden states, and the last states, of a batch, one sequence, or packed sequences."""
        packed = isinstance(input, PackedSequence)
        batched, batch_sizes = True, None
        x: Any = input
        if packed:
            x, batch_sizes = input.data, input.batch_sizes.tolist()
            if hx is not None and input.sorted_indices is not None:
                hx = tuple(s.index_select(1, input.sorted_indices) for s in hx)
        else:
            if input.ndim not in (2, 3):
                given = f"{input.ndim}D{' tensor' if self.mode.startswith('RNN') else ''}"
                raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {given} instead")
            batched = input.ndim == 3
            if hx is not None:
                self._check_rank(hx, batched)
            if not batched:
                x, hx = x.unsqueeze(1), hx if hx is None else tuple(s.unsqueeze(1) for s in hx)
            elif self.batch_first:
                x = x.transpose(0, 1)
        self._check_input(x, packed)
        if hx is not None:
            self._check_states(hx, batch_sizes[0] if batch_sizes else x.shape[1])
        out, last = recurrent.layers(
            "lstm" if self.mode == "LSTM" else self.mode.lower(),
            x,
            hx,
            self._weights(),
            batch_sizes=batch_sizes,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            training=self.training,
        )
        if packed:
            if input.unsorted_indices is not None:
                last = tuple(s.index_select(1, input.unsorted_indices) for s in last)
            return PackedSequence(out, *input[1:]), last
        if not batched:
            return out.squeeze(1), tuple(s.squeeze(1) for s in last)
        return (out.transpose(0, 1) if self.batch_first else out), last

    def _check_rank(self, hx: tuple[Any, ...], batched: bool) -> None:
        rank, kind = (3, "batched 3-D") if batched else (2, "unbatched 2-D")
        if any(s.ndim != rank for s in hx):
            given = ", ".join(f"{s.ndim}-D" for s in hx)
            which, be = ("hx and cx", f"({given}) tensors") if len(hx) == 2 else ("hx", f"{given} tensor")
            raise RuntimeError(f"For {kind} input, {which} should also be {rank}-D but got {be}")

    def _check_input(self, x: Any, packed: bool) -> None:
        dtype = getattr(self, self._all_weights[0][0]).dtype
        if x.dtype is not dtype and mode.autocast is None:
            raise ValueError(
                f"RNN input dtype ({x.dtype}) does not match weight dtype ({dtype}). Convert input: input.to({dtype}), "
                f"or convert model: model.to({x.dtype})"
            )
        if packed and x.ndim != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {x.ndim}")
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )

    def _check_states(self, hx: tuple[Any, ...], rows: int) -> None:
        count = self.num_layers * (2 if self.bidirectional else 1)
        names = ("hidden[0]", "hidden[1]") if len(hx) == 2 else ("hidden",)
        for name, s, size in zip(names, hx, (self.proj_size or self.hidden_size, self.hidden_size)):
            if tuple(s.shape) != (count, rows, size):
                raise RuntimeError(f"Expected {name} size {(count, rows, size)}, got {list(s.shape)}")

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0}
        for name, value in {**usual, "bidirectional": False}.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text


def _check(
    input_size: Any, hidden_size: Any, num_layers: int, bias: Any, batch_first: Any, dropout: Any, proj_size: int
) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(
            "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
        )
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects num_layers "
            f"greater than 1, but got dropout={dropout} and num_layers={num_layers}",
            stacklevel=4,
        )
    for name, value in (("bias", bias), ("batch_first", batch_first)):
        if not isinstance(value, bool):
            raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")
    for name, value in (("input_size", input_size), ("hidden_size", hidden_size)):
        if not isinstance(value, int):
            raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
        if value <= 0:
            raise ValueError(f"{name} must be greater than zero")
    if num_layers <= 0:
        raise ValueError("num_layers must be greater than zero")
    if proj_size < 0:
        raise ValueError("proj_size should be a positive integer or zero to disable projections")
    if proj_size >= hidden_size:
        raise ValueError("proj_size has to be smaller than hidden_size")


class RNN(RNNBase):
    """Layers of `h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or ReLU for tanh (Elman, Cognitive Science 1990).

    Args:
        input_size: the number of features of the input.
        hidden_size: the number of features of the hidden state.
        num_layers: each takes the hidden states of the one before.
        nonlinearity: `"tanh"` or `"relu"`.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (batch, steps, features) instead of (steps, batch, features).
        dropout: the probability of dropping an output of a layer but the last, in training.
        bidirectional: a second run of each layer, from the last step to the first; the output has both side by side.

    Called with the input, which may also be (steps, features) or a `PackedSequence`, and, optionally, the hidden states
    at first (layers * directions, batch, hidden_size). Returns the hidden states of the last layer, in the form of the
    input, and those of all layers after the last step.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        options = (num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__(mode, input_size, hidden_size, *options)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Any]:
        out, (h,) = self._run(input, hx if hx is None else (hx,))
        return out, h


class GRU(RNNBase):
    """Layers of gated recurrent units (Cho et al., EMNLP 2014). Arguments, inputs and results are those of `RNN`.

    `r, z = sigmoid(W x + b + U h + c)`, `n = tanh(W_in x + b_in + r * (W_hn h + b_hn))`, `h' = (1 - z) * n + z * h`.
    The weights have r, z and n below each other.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ):
        options = (num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        super().__init__("GRU", input_size, hidden_size, *options)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Any]:
        out, (h,) = self._run(input, hx if hx is None else (hx,))
        return out, h


class LSTM(RNNBase):
    """Layers of long short-term memory (Hochreiter & Schmidhuber, Neural Computation 1997; Gers et al., 2000).

    `i, f, o = sigmoid(W x + b + U h + c)`, `g = tanh(W_ig x + b_ig + W_hg h + b_hg)`, `c' = f * c + i * g`,
    `h' = o * tanh(c')`; the weights have i, f, g and o below each other. With `proj_size` the hidden state is
    multiplied by `weight_hr` (Sak et al., 2014). Other arguments, inputs and results are those of `RNN`, but the
    state is a pair of hidden states (layers * directions, batch, proj_size or hidden_size) and cell states (layers *
    directions, batch, hidden_size).

    >>> import gradcore
    >>> lstm = gradcore.nn.LSTM(10, 20, num_layers=2, bidirectional=True)
    >>> out, (h, c) = lstm(gradcore.zeros(5, 3, 10))
    >>> out.shape, h.shape
    (gradcore.Size([5, 3, 40]), gradcore.Size([4, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ):
        options = (num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)
        super().__init__("LSTM", input_size, hidden_size, *options)

    def forward(self, input: Any, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Any, tuple[Any, Any]]:
        out, (h, c) = self._run(input, hx if hx is None else tuple(hx))
        return out, (h, c)


class RNNCellBase(Module):
    """What the cells have in common: parameters `weight_ih`, `weight_hh`, `bias_ih` and `bias_hh`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        width = num_chunks * hidden_size
        self.weight_ih = Parameter(empty(width, input_size, device=device, dtype=dtype))
        self.weight_hh = Parameter(empty(width, hidden_size, device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            made = Parameter(empty(width, device=device, dtype=dtype)) if bias else None
            self.register_parameter(name, made)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        _reset(self)

    def _step(self, cell: str, input: Any, hx: tuple[Any, ...] | None, names: tuple[str, ...]) -> tuple[Any, ...]:
        own = type(self).__name__
        for name, t in (("input", input), *zip(names, hx or ())):
            if t.ndim not in (1, 2):
                raise ValueError(f"{own}: Expected {name} to be 1D or 2D, got {t.ndim}D instead")
        x, batched = (input, True) if input.ndim == 2 else (input.unsqueeze(0), False)
        if hx is None:
            none = zeros(x.shape[0], self.hidden_size, dtype=x.dtype, device=x.device)
            hx = (none,) * len(names)
        elif not batched:
            hx = tuple(s.unsqueeze(0) for s in hx)
        if x.shape[1] != self.input_size:
            raise RuntimeError(f"input has inconsistent input_size: got {x.shape[1]} expected {self.input_size}")
        for k, s in enumerate(hx):
            if s.shape[0] != x.shape[0]:
                raise RuntimeError(f"Input batch size {x.shape[0]} doesn't match hidden{k} batch size {s.shape[0]}")
            if s.shape[1] != self.hidden_size:
                raise RuntimeError(
                    f"hidden{k} has inconsistent hidden_size: got {s.shape[1]}, expected {self.hidden_size}"
                )
        weights = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, None)
        _, last = recurrent.layer(cell, x.unsqueeze(0), hx, weights)
        return last if batched else tuple(s.squeeze(0) for s in last)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        for name, usual in (("bias", True), ("nonlinearity", "tanh")):
            value = getattr(self, name, usual)
            if value != usual:
                text += f", {name}={value}"
        return text


class RNNCell(RNNCellBase):
    """One step of `RNN`: input (batch, input_size) and hidden state (batch, hidden_size), 0 if not given, to the
    next hidden state."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(f"rnn_{self.nonlinearity}", input, hx if hx is None else (hx,), ("hidden",))[0]


class GRUCell(RNNCellBase):
    """One step of `GRU`: input (batch, input_size) and hidden state (batch, hidden_size), 0 if not given, to the
    next hidden state."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("gru", input, hx if hx is None else (hx,), ("hidden",))[0]


class LSTMCell(RNNCellBase):
    """One step of `LSTM`: input (batch, input_size), hidden and cell state (batch, hidden_size), 0 if not given, to the
    next hidden and cell state."""

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step("lstm", input, hx if hx is None else tuple(hx), ("hx[0]", "hx[1]"))
        return h, c
