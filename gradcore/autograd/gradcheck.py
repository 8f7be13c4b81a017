"""Gradients against finite differences."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import dtypes
from ..backends import backend_of
from ..ops.shape import stack
from .api import grad
from .batching import for_each
from .forward_ad import dual_level, make_dual, unpack_dual
from .function import Function
from .grad_mode import mode
from .tape import wants_grad, wrap
from .variable import Variable


class GradcheckError(RuntimeError):
    """A gradient that disagrees with finite differences."""


def _tuple(x: Any) -> tuple[Any, ...]:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def _host(t: Variable) -> np.ndarray:
    """The values as a vector of float64 on the host."""
    return np.array(backend_of(t._array).to_host(t._array), np.float64).reshape(-1)


def _array_like(t: Variable, values: np.ndarray) -> Any:
    """An array of the dtype and shape, and on the device, of `t`."""
    return backend_of(t._array).from_host(values.reshape(t._array.shape).astype(t._array.dtype))


def _shown(values: np.ndarray, dtype: Any) -> Any:
    """`values` as they are printed in a message."""
    return wrap(np.asarray(values).astype(dtype))


def _is_float(t: Any) -> bool:
    return isinstance(t, Variable) and dtypes.from_numpy(t._array.dtype).is_floating_point


def _units(size: int) -> list[np.ndarray]:
    return list(np.eye(size))


def _projection(generator: np.random.Generator, t: Variable) -> np.ndarray:
    """A random unit vector for the elements of `t`, none of which is negative, so that no differences cancel out."""
    values = generator.random(t._array.size)
    return values / np.linalg.norm(values) if values.size else values


def _close(a: np.ndarray, b: np.ndarray, rtol: float, atol: float) -> bool:
    return np.allclose(a, b, rtol, atol)


@dataclass(frozen=True)
class _Options:
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    check_undefined_grad: bool
    check_grad_dtypes: bool
    fast_mode: bool
    masked: bool


class _Check:
    """One function at one point, and the derivatives of its outputs that require grad by its inputs that do."""

    def __init__(self, function: Callable[..., Any], inputs: Sequence[Any], options: _Options):
        self.function, self.inputs, self.options = function, list(inputs), options
        self.wanted = [i for i, t in enumerate(inputs) if isinstance(t, Variable) and wants_grad(t)]
        self.sources = [self.inputs[i] for i in self.wanted]
        self.results = self.floats()
        self.outputs = [o for o in self.results if wants_grad(o)]

    def floats(self) -> list[Variable]:
        """The outputs that may have derivatives: the floating point tensors."""
        return [o for o in _tuple(self.function(*self.inputs)) if _is_float(o)]

    # -- the three ways to a derivative
    def difference(self, k: int, direction: np.ndarray, where: str = "") -> list[np.ndarray]:
        """The derivative of each result along `direction` of source `k`, by a central difference.

        The input itself is changed and changed back: the function may have it from elsewhere, too.
        """
        source, eps = self.sources[k], self.options.eps
        original = backend_of(source._array).copy(source._array)
        values = _host(source)
        sides: list[list[np.ndarray]] = []
        try:
            for step in (eps, -eps):
                source._array[...] = _array_like(source, values + step * direction)
                found = self.floats()
                for a, b in zip(self.results, found):
                    for what in ("shape", "dtype"):
                        if getattr(a._array, what) != getattr(b._array, what):
                            raise AssertionError(
                                f"Expected `func` to return outputs with the same {what} when inputs are perturbed "
                                f"{where}by {eps}, but got: {what}s {getattr(a, what)} and {getattr(b, what)}."
                            )
                sides.append([_host(o) for o in found])
        finally:
            source._array[...] = original
        return [(a - b) / (2 * eps) for a, b in zip(*sides)]

    def pulled_back(self, o: int, cotangent: np.ndarray) -> list[np.ndarray]:
        """The transposed Jacobians of output `o`, by each source, times `cotangent`: one backward pass."""
        output = self.outputs[o]
        mode.converted = complaints = []
        try:
            found = grad(
                output, self.sources, wrap(_array_like(output, cotangent)), retain_graph=True, allow_unused=True
            )
        finally:
            mode.converted = None
        for t, g in zip(self.sources, found):
            if g is not None and g._array.shape != t._array.shape:
                raise GradcheckError("Analytical gradient has incorrect size")
            if g is not None and g._array.dtype != t._array.dtype:
                complaints.append(f"got a gradient of {g.dtype} of a tensor of {t.dtype}")
        if complaints and self.options.check_grad_dtypes:
            raise GradcheckError(f"Gradient has dtype mismatch: {complaints[0]}")
        return [np.zeros(t._array.size) if g is None else _host(g) for t, g in zip(self.sources, found)]

    def pushed_forward(self, k: int, direction: np.ndarray) -> list[np.ndarray]:
        """The derivative of each result along `direction` of source `k`, by forward mode."""
        directions = [np.zeros(t._array.size) for t in self.sources]
        directions[k] = direction
        return self.dual_results(directions)

    def dual_results(self, directions: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """The tangents of the results for those of the sources; None: no tangent."""
        tangents = [None if d is None else wrap(_array_like(t, d)) for t, d in zip(self.sources, directions)]
        return [
            np.zeros(o._array.size) if tangent is None else _host(tangent)
            for o, tangent in zip(self.results, self.pushed(tangents))
        ]

    def pushed(self, tangents: Sequence[Any]) -> list[Any]:
        """The tangents of the results, as tensors or None, for those of the sources."""
        with dual_level():
            given = [t.detach() if isinstance(t, Variable) else t for t in self.inputs]  # type: ignore[attr-defined]
            for i, tangent in zip(self.wanted, tangents):
                if tangent is not None:
                    given[i] = make_dual(given[i], tangent)
            return [unpack_dual(o).tangent for o in _tuple(self.function(*given)) if _is_float(o)]

    def pulled_back_twice(self, o: int, cotangent: np.ndarray) -> list[np.ndarray]:
        """`pulled_back`, which has to give the same once more."""
        first, second = self.pulled_back(o, cotangent), self.pulled_back(o, cotangent)
        tolerance = self.options.nondet_tol
        if any(a.size and np.abs(a - b).max() > tolerance for a, b in zip(first, second)):
            raise GradcheckError(
                "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                "gives different values, although analytical gradient matches numerical gradient. "
                f"The tolerance for nondeterminism was {tolerance}."
            )
        return first

    # -- what is compared
    def numerical(self, k: int) -> list[np.ndarray]:
        """The Jacobian of each result by source `k`, of shape (elements of the source, elements of the result)."""
        shape, size = self.sources[k]._array.shape, self.sources[k]._array.size
        indices = np.ndindex(shape)
        rows = [self.difference(k, unit, f"on index {index} ") for index, unit in zip(indices, _units(size))]
        return [np.array([row[o] for row in rows]).reshape(size, r._array.size) for o, r in enumerate(self.results)]

    def analytical(self, o: int) -> list[np.ndarray]:
        """The Jacobian of output `o` by each source, of the same shape, from backward passes."""
        size = self.outputs[o]._array.size
        columns = [self.pulled_back_twice(o, unit) for unit in _units(size)]
        return [
            np.array([column[k] for column in columns]).reshape(size, t._array.size).T
            for k, t in enumerate(self.sources)
        ]

    def of_outputs(self, found: Sequence[Any]) -> list[Any]:
        """Of what was found for each of the results, that of those which require grad."""
        return [f for f, o in zip(found, self.results) if wants_grad(o)]

    def disagreement(self, o: int, k: int, analytical: Any, numerical: Any, how: str = "", more: str = "") -> None:
        """Raise GradcheckError for output `o` and source `k`."""
        raise GradcheckError(
            f"Jacobian {how}mismatch for output {o} with respect to input {k},\n"
            f"numerical:{_shown(numerical, self.outputs[o]._array.dtype)}\n"
            f"analytical:{_shown(analytical, self.sources[k]._array.dtype)}\n{more}"
        )

    def backward_mode(self) -> None:
        """Every element of every Jacobian, from backward passes."""
        numerical = [self.numerical(k) for k in range(len(self.sources))]
        if not self.outputs and any(np.any(jacobian) for row in numerical for jacobian in row):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        for o in range(len(self.outputs)):
            for k, found in enumerate(self.analytical(o)):
                expected = self.of_outputs(numerical[k])[o]
                if not _close(found, expected, self.options.rtol, self.options.atol):
                    self.disagreement(o, k, found, expected)

    def backward_mode_projected(self) -> None:
        """One number for every Jacobian, `v @ jacobian @ u` with random u and v, from one backward pass per output."""
        generator = np.random.default_rng(0)
        us = [_projection(generator, t) for t in self.sources]
        vs = [_projection(generator, t) for t in self.outputs]
        numerical = [self.difference(k, u) for k, u in enumerate(us)]
        if not self.outputs and any(np.abs(d).max(initial=0) > self.options.nondet_tol for n in numerical for d in n):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        analytical = [self.pulled_back_twice(o, v) for o, v in enumerate(vs)]
        for k, u in enumerate(us):
            for o, (v, difference) in enumerate(zip(vs, self.of_outputs(numerical[k]))):
                found, expected = analytical[o][k] @ u, v @ difference
                # The tolerance for the sum of all elements, weighted as they are.
                if not _close(found, expected, self.options.rtol, self.options.atol * u.sum() * v.sum()):
                    full = self.of_outputs(self.numerical(k))[o], self.analytical(o)[k]
                    self.disagreement(o, k, found, expected, more=self._in_full(o, k, *full))

    def _in_full(self, o: int, k: int, numerical: np.ndarray, analytical: np.ndarray) -> str:
        """What is added to the message of fast mode: the Jacobians that were only compared by projections."""
        text = (
            "\nThe above quantities relating the numerical and analytical jacobians are computed in fast mode, from "
            "random projections. Below, the jacobians are recomputed in slow mode:\n\n"
            f"Numerical:\n {_shown(numerical, self.outputs[o]._array.dtype)}\n"
            f"Analytical:\n{_shown(analytical, self.sources[k]._array.dtype)}\n\n"
            f"The max per-element difference (slow mode) is: {np.abs(numerical - analytical).max()}.\n"
        )
        if _close(analytical, numerical, self.options.rtol, self.options.atol):
            text += "The test would have passed in slow mode (fast_mode=False).\n"
        return text

    def forward_mode(self) -> None:
        """Every element of every Jacobian, from forward mode."""
        if not self.outputs:
            return self.backward_mode()
        for k, t in enumerate(self.sources):
            expected = self.of_outputs(self.numerical(k))
            rows = [self.of_outputs(self.pushed_forward(k, unit)) for unit in _units(t._array.size)]
            for o, numerical in enumerate(expected):
                analytical = np.array([row[o] for row in rows]).reshape(numerical.shape)
                if not _close(analytical, numerical, self.options.rtol, self.options.atol):
                    self.disagreement(o, k, analytical, numerical, _FORWARD)
        return None

    def forward_mode_projected(self) -> None:
        """`jacobian @ u` with one random u for each source, from forward mode."""
        generator = np.random.default_rng(0)
        for k, t in enumerate(self.sources):
            u = _projection(generator, t)
            expected = self.of_outputs(self.difference(k, u))
            for o, (found, difference) in enumerate(zip(self.of_outputs(self.pushed_forward(k, u)), expected)):
                if not _close(found, difference, self.options.rtol, self.options.atol * u.sum()):
                    self.disagreement(o, k, found, difference, _FORWARD)

    def undefined_tangents(self) -> None:
        """An input without a tangent counts as one with zeros."""
        generator = np.random.default_rng(0)
        us: list[Any] = [_projection(generator, t) for t in self.sources]
        for k, t in enumerate(self.sources):
            zeros = self.dual_results([*us[:k], np.zeros(t._array.size), *us[k + 1 :]])
            none = self.dual_results([*us[:k], None, *us[k + 1 :]])
            for o, (a, b) in enumerate(zip(zeros, none)):
                if not _close(a, b, 1e-5, 1e-8):
                    raise GradcheckError(
                        f"Mismatch in tangent values for output with index: {o} when input: {k} has an undefined "
                        f"tangent value. Got: {b} but expected: {a}"
                    )

    def batched_tangents(self) -> None:
        """Two tangents of a source at once, by `vmap`, must give what they give one after the other."""
        generator = np.random.default_rng(0)
        for k, t in enumerate(self.sources):
            seeds = [wrap(_array_like(t, generator.uniform(-1, 1, t._array.size))) for _ in range(2)]

            def push(tangent: Any, k: int = k) -> list[Any]:
                return self.pushed([tangent if i == k else None for i in range(len(self.sources))])

            each = [push(seed) for seed in seeds]
            try:
                found = for_each(push, stack(*seeds))
            except (RuntimeError, NotImplementedError, TypeError) as error:
                raise GradcheckError(f"While computing batched gradients, got: {error}\n\n{_BATCHED}") from error
            for o, (batch, *expected) in enumerate(zip(found, *each)):
                if batch is not None:
                    self.compare_batch(o, k, batch, expected)

    def compare_batch(self, o: int, k: int, batch: Any, each: Sequence[Any]) -> None:
        """Raise GradcheckError unless `batch` has the values of `each`."""
        expected = np.stack([_host(g) for g in each])
        if not _close(_host(batch), expected.reshape(-1), self.options.rtol, self.options.atol):
            raise GradcheckError(
                f"For output {o} and input {k}:\n\n{_BATCHED}\n\nGot:\n{batch}\n\n"
                f"Expected:\n{_shown(expected, batch._array.dtype)}"
            )

    def zero_gradients(self) -> None:
        """Gradients of zero must give gradients of zero."""
        zeros = [wrap(_array_like(o, np.zeros(o._array.size))) for o in self.outputs]
        found = grad(self.outputs, self.sources, zeros, retain_graph=True, allow_unused=True)
        for g in found:
            if g is None:
                continue
            values = _host(g)
            if not (_close(values, np.zeros_like(values), 1e-5, 1e-8) if self.options.masked else np.all(values == 0)):
                raise GradcheckError("backward not multiplied by grad_output")

    def undefined_gradients(self) -> None:
        """Outputs that no gradient arrives at, all of them and one after the other, count as zeros."""
        count = len(self.outputs)
        for undefined in [range(count), *([i] for i in range(count) if count > 1)]:
            outputs = [o for o in self.floats() if wants_grad(o)]
            outputs = [_Undefined.apply(o) if i in undefined else o for i, o in enumerate(outputs)]
            zeros = [wrap(_array_like(o, np.zeros(o._array.size))) for o in outputs]
            try:
                found = grad(outputs, self.sources, zeros, allow_unused=True)
            except RuntimeError as error:
                raise GradcheckError(
                    "Expected backward function to handle undefined output grads. They are None in a Function with "
                    "set_materialize_grads(False); check_undefined_grad=False leaves this check out"
                ) from error
            if any(g is not None and np.any(_host(g) != 0) for g in found):
                raise GradcheckError(
                    "Expected all input grads to be undefined or zero when all output grads are undefined or zero."
                )

    def batched_gradients(self) -> None:
        """Two gradients of an output at once, by `vmap`, must give what they give one after the other."""
        generator = np.random.default_rng(0)
        for o, output in enumerate(self.outputs):
            seeds = [wrap(_array_like(output, generator.uniform(-1, 1, output._array.size))) for _ in range(2)]
            each = [grad(output, self.sources, g, retain_graph=True, allow_unused=True) for g in seeds]
            try:
                found = grad(
                    output, self.sources, stack(*seeds), retain_graph=True, allow_unused=True, is_grads_batched=True
                )
            except (RuntimeError, NotImplementedError, TypeError) as error:
                raise GradcheckError(f"While computing batched gradients, got: {error}\n\n{_BATCHED}") from error
            for k, batch in enumerate(found):
                if batch is not None:
                    self.compare_batch(o, k, batch, [g[k] for g in each])


_BATCHED = (
    "gradcheck or gradgradcheck failed while testing batched gradient computation: the backward pass, or forward mode, "
    "is run by vmap, for several gradients at once. A backward function must not need their values (no item(), no "
    "branch on them); check_batched_grad=False, or check_batched_forward_grad=False, leaves this check out"
)


_FORWARD = "computed with forward mode "


class _Undefined(Function):
    """Lets no gradient through."""

    @staticmethod
    def forward(ctx: Any, input: Any) -> Any:
        return input

    @staticmethod
    def backward(ctx: Any, g: Any) -> None:
        return None


def _check_inputs(values: Sequence[Any]) -> None:
    wanted = [i for i, t in enumerate(values) if isinstance(t, Variable) and wants_grad(t)]
    for i in wanted:
        array = values[i]._array
        if array.dtype != np.float64:
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check "
                "will likely fail if all the inputs are not of double precision floating point or complex. ",
                UserWarning,
                stacklevel=3,
            )
        if array.size and any(stride == 0 and size > 1 for stride, size in zip(array.strides, array.shape)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call .contiguous "
                "on the input before passing it to gradcheck."
            )
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them have requires_grad=True."
        )


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Compare the gradients of `func` at `inputs` with central differences of step `eps`.

    Every element of every Jacobian is compared, of the outputs that require grad with respect to the inputs that do.
    Backward passes must give the same twice, zeros for gradients of zero, and take outputs without a gradient. The
    inputs are changed in place, and back again, so that a function may use them as closures, too.

    Args:
        func: takes `inputs` and returns a tensor or a tuple of tensors.
        inputs: a tensor or a tuple of anything; those that require grad should be float64: in float32 the differences
            drown in rounding.
        eps: the step of the differences.
        atol, rtol: differences allowed, as for `allclose`.
        raise_exception: raise GradcheckError if the check fails, instead of returning False.
        nondet_tol: how far two backward passes may differ.
        check_undefined_grad: whether outputs without a gradient must be taken for zeros.
        check_batched_grad: whether backward passes for several gradients at once, by `vmap`, must work.
        check_batched_forward_grad: whether forward mode for several tangents at once, by `vmap`, must work.
        check_grad_dtypes: whether backward functions must return gradients of their tensors' dtypes. (If they do not,
            the gradients are converted.)
        check_forward_ad: compare forward mode with the differences, too; inputs without a tangent must count as zeros.
        check_backward_ad: whether to check backward passes at all.
        fast_mode: compare one random projection `v @ jacobian @ u` of each Jacobian instead: two evaluations of `func`
            for each input and two backward passes for each output, whatever their sizes. (Random projections of both
            sides as in HIPS autograd's `check_grads` and, with the tolerances used here, pytorch/pytorch#53876.)
        masked: gradients of zero need only give gradients close to zero.

    >>> import gradcore as torch
    >>> x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, x)
    True
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    values = _tuple(inputs)
    _check_inputs(values)
    options = _Options(eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode, bool(masked))
    try:
        check = _Check(func, values, options)
        if check_backward_ad:
            (check.backward_mode_projected if fast_mode else check.backward_mode)()
        if check_forward_ad:
            (check.forward_mode_projected if fast_mode else check.forward_mode)()
            if check_undefined_grad:
                check.undefined_tangents()
            if check_batched_forward_grad:
                check.batched_tangents()
        if check_backward_ad:
            check.zero_gradients()
            if check_undefined_grad:
                check.undefined_gradients()
            if check_batched_grad:
                check.batched_gradients()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the gradients of `func`, with respect to the inputs and to the gradients of the outputs.

    Args:
        grad_outputs: the values of the latter; random ones that require grad by default.
        gen_non_contig_grad_outputs: make those random ones non-contiguous.
        check_fwd_over_rev: check forward mode through the backward pass.
        check_rev_over_rev: check backward passes through the backward pass.

    The other arguments are those of `gradcheck`.

    >>> import gradcore as torch
    >>> x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(torch.sin, x)
    True
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    if check_undefined_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_undefined_grad=True requires check_rev_over_rev to be True")
    if check_batched_grad and not check_rev_over_rev:
        raise AssertionError("Setting check_batched_grad=True requires check_rev_over_rev to be True")
    values = _tuple(inputs)
    seeds = _tuple(grad_outputs)
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        outputs = [o for o in _tuple(func(*values)) if isinstance(o, Variable) and wants_grad(o)]
        seeds = tuple([_random_leaf(o, generator, gen_non_contig_grad_outputs) for o in outputs])
    count = len(values)
    differentiated = [i for i, t in enumerate((*values, *seeds)) if isinstance(t, Variable) and wants_grad(t)]
    wanted = [i for i in differentiated if i < count]

    def first_order(*arguments: Any) -> tuple[Any, ...]:
        for i in differentiated:  # forward mode gets them without history
            arguments[i].requires_grad_()
        ins, given = arguments[:count], arguments[count:]
        outputs = [o for o in _tuple(func(*ins)) if isinstance(o, Variable) and wants_grad(o)]
        if not outputs:
            return ()
        found = grad(outputs, [ins[i] for i in wanted], given, create_graph=True, allow_unused=True)
        return tuple(g for g in found if g is not None)

    return gradcheck(
        first_order,
        (*values, *seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _random_leaf(like: Variable, generator: np.random.Generator, non_contiguous: bool) -> Any:
    """Random values between -1 and 1, to differentiate by; every second one of a larger array if `non_contiguous`."""
    array = _array_like(like, generator.uniform(-1, 1, like._array.size))
    if non_contiguous and array.ndim and array.size > 1:
        array = backend_of(array).xp.repeat(array, 2, -1)[..., ::2]
    out = wrap(array)
    out._requires_grad = True
    return out
