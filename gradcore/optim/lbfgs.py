"""L-BFGS: a quasi-Newton method that remembers its last steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

from ..autograd.grad_mode import enable_grad, no_grad
from ..tensor.creation import zeros_like
from ..tensor.functions import FUNCTIONS
from .multi_tensor import number
from .optimizer import Optimizer, options

cat = FUNCTIONS["cat"]

Evaluate = Callable[[float], tuple[float, Any]]


class LBFGS(Optimizer):
    """L-BFGS (Nocedal & Wright, "Numerical Optimization", 2006, algorithm 7.5), with a line search by the strong Wolfe
    conditions (algorithms 3.5 and 3.6, with cubic interpolation) if asked for.

    There is one group of parameters, taken together as one vector; `step` needs a closure that computes the loss and
    its gradients anew, and calls it several times.

    Args:
        lr: the length of the steps; with a line search, where that begins.
        max_iter: iterations in a step.
        max_eval: calls of the closure in a step; `max_iter * 1.25` by default.
        tolerance_grad: a step ends when no element of the gradient is larger.
        tolerance_change: or when neither the parameters nor the loss change by more.
        history_size: how many pairs of steps and changes of the gradient are remembered.
        line_search_fn: `"strong_wolfe"` or None.

    >>> import gradcore as torch
    >>> x = torch.tensor([-1.0, 2.0], requires_grad=True)
    >>> optimizer = LBFGS([x], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
    ...     loss.backward()
    ...     return loss
    >>> for _ in range(5):
    ...     loss = optimizer.step(closure)
    >>> bool(((x - 1).abs() < 1e-3).all())
    True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ):
        if not lr >= 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        max_eval = max_iter * 5 // 4 if max_eval is None else max_eval
        super().__init__(params, options(locals()))
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")

    @no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        if closure is None:
            raise TypeError("LBFGS.step() missing 1 required positional argument: 'closure'")
        group = self.param_groups[0]
        params, lr = group["params"], float(number(group["lr"]))
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError("only 'strong_wolfe' is supported")
        state = self.state[params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        evaluations = 0
        first: Any = None

        def evaluate() -> tuple[float, Any]:
            nonlocal evaluations, first
            with enable_grad():
                result = closure()
            first = result if first is None else first
            evaluations += 1
            state["func_evals"] += 1
            return float(result), self._gradient(params)

        loss, gradient = evaluate()
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        memory = _Memory(state)
        before = loss
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                direction, length = -gradient, min(1.0, 1.0 / float(gradient.abs().sum())) * lr
            else:
                memory.note(gradient, group["history_size"])
                direction, length = -memory.times(gradient), lr
            memory.gradient, memory.direction, memory.length = gradient.clone(), direction, length
            slope = float(gradient.dot(direction))
            before = loss
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            if group["line_search_fn"] is None:
                self._move(params, direction, length)
                if not last:
                    loss, gradient = evaluate()
            else:
                start = [p.clone() for p in params]

                def along(t: float) -> tuple[float, Any]:
                    self._move(params, direction, t)  # noqa: B023
                    found = evaluate()
                    for p, values in zip(params, start):  # noqa: B023
                        p.copy_(values)
                    return found

                at = _Point(0.0, loss, gradient, slope)
                found = strong_wolfe(along, at, length, direction, group["max_eval"] - evaluations)
                loss, gradient, memory.length = found.loss, found.gradient, found.t
                self._move(params, direction, found.t)
            if (
                last
                or evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction) * memory.length <= group["tolerance_change"]
                or abs(loss - before) < group["tolerance_change"]
            ):
                break
        memory.write(state, before)
        return first

    @staticmethod
    def _gradient(params: list[Any]) -> Any:
        return cat([(zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in params])

    @staticmethod
    def _move(params: list[Any], direction: Any, length: float) -> None:
        at = 0
        for p in params:
            p.add_(direction[at : at + p.numel()].reshape(p.shape), alpha=length)
            at += p.numel()


class _Memory:
    """The last step, and the pairs of changes of the gradient and of the parameters that the inverse Hessian is
    approximated by. In an optimizer's state it goes by PyTorch's names."""

    def __init__(self, state: dict[str, Any]):
        self.gradient: Any = state.get("prev_flat_grad")
        self.direction: Any = state.get("d")
        self.length: Any = state.get("t")
        self.scale = float(state.get("H_diag", 1.0))
        names = ("old_dirs", "old_stps", "ro")
        self.pairs: list[tuple[Any, Any, float]] = [
            (change, step, float(rho)) for change, step, rho in zip(*(state.get(name) or () for name in names))
        ]

    def write(self, state: dict[str, Any], loss: float) -> None:
        """Keep it, and the loss before the last iteration, in a state."""
        changes, steps, factors = ([pair[i] for pair in self.pairs] for i in range(3))
        state.update(d=self.direction, t=self.length, old_dirs=changes, old_stps=steps, ro=factors)
        state.update(H_diag=self.scale, prev_flat_grad=self.gradient, prev_loss=loss)

    def note(self, gradient: Any, most: int) -> None:
        """Remember the last step and what it changed, unless the curvature along it is not positive."""
        change, step = gradient - self.gradient, self.direction * self.length
        curvature = float(change.dot(step))
        if curvature <= 1e-10:
            return
        if len(self.pairs) == most:
            self.pairs.pop(0)
        self.pairs.append((change, step, 1 / curvature))
        self.scale = curvature / float(change.dot(change))

    def times(self, vector: Any) -> Any:
        """The approximate inverse Hessian times `vector`: the two-loop recursion (algorithm 7.4)."""
        q, factors = vector.clone(), []
        for change, step, rho in reversed(self.pairs):
            factors.append(rho * float(step.dot(q)))
            q.add_(change, alpha=-factors[-1])
        q.mul_(self.scale)
        for (change, step, rho), factor in zip(self.pairs, reversed(factors)):
            q.add_(step, alpha=factor - rho * float(change.dot(q)))
        return q


def _largest(vector: Any) -> float:
    return float(vector.abs().max())


# ---------------------------------------------------------------- the line search
@dataclass
class _Point:
    """A point along a line: how far, the loss, its gradient, and its slope along the line."""

    t: float
    loss: float
    gradient: Any
    slope: float


def strong_wolfe(
    evaluate: Evaluate,
    start: _Point,
    t: float,
    direction: Any,
    most: int,
    decrease: float = 1e-4,
    curvature: float = 0.9,
    tolerance: float = 1e-9,
) -> _Point:
    """A point that meets the strong Wolfe conditions, or the best found with `most` evaluations after the first."""

    def at(t: float) -> _Point:
        loss, gradient = evaluate(t)
        return _Point(t, loss, gradient, float(gradient.dot(direction)))

    def is_high(p: _Point) -> bool:
        return p.loss > start.loss + decrease * p.t * start.slope

    def is_flat(p: _Point) -> bool:
        return abs(p.slope) <= -curvature * start.slope

    # Longer and longer steps, until there is an interval that must contain such a point.
    before, here, count = start, at(t), 0
    low, high = start, here
    while count < most:
        if is_high(here) or (count > 1 and here.loss >= before.loss):
            low, high = before, here
            break
        if is_flat(here):
            return here
        if here.slope >= 0:
            low, high = before, here
            break
        bounds = here.t + 0.01 * (here.t - before.t), here.t * 10
        before, here = here, at(_cubic_minimum(before, here, bounds))
        low, high = start, here
        count += 1
    # Which is made smaller, by the minimum of a cubic that fits at its ends.
    first, second = low, high
    if second.loss < first.loss:
        low, high = second, first
    stuck = False
    size = _largest(direction)
    while count < most and abs(high.t - low.t) * size >= tolerance:
        left, right = min(low.t, high.t), max(low.t, high.t)
        t = _cubic_minimum(first, second, (left, right))
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            # Near an end twice, or beyond it: some way inside instead.
            if stuck or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stuck = False
            else:
                stuck = True
        else:
            stuck = False
        here = at(t)
        count += 1
        if is_high(here) or here.loss >= low.loss:
            first, second = (low, here) if first is low else (here, low)
            low, high = (low, here) if low.loss <= here.loss else (here, low)
            continue
        if is_flat(here):
            return here
        other = low if here.slope * (high.t - low.t) >= 0 else high
        first, second = (here, other) if first is low else (other, here)
        low, high = here, other
    return low


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[float, float]) -> float:
    """Where the cubic that fits two points is least within `bounds`; the middle where it has no minimum."""
    left, right = bounds
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2
    if a.t > b.t:
        a, b = b, a
    d2 = sqrt(square)
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(t, left), right)
