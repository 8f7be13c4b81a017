"""JAX: one jitted function for the whole step."""

from __future__ import annotations

import itertools
from typing import Any

from ..case import Step
from ..lab import Lab
from ..suites.data import BETA1, BETA2, EPS, RATE, Digits


class JaxLab(Lab):
    """The digits network as a jitted step that gives its buffers away, as JAX's own training loops do."""

    torchlike = False

    def finish(self, result: Any) -> None:
        if result is not None:
            self.module.block_until_ready(result)

    def digits(self, data: Digits) -> Step:
        """A step of the training suite's `digits`."""
        jax = self.module
        jnp = jax.numpy

        def loss(weights: Any, x: Any, y: Any) -> Any:
            w1, b1, w2, b2 = weights
            logs = jax.nn.log_softmax(jax.nn.relu(x @ w1.T + b1) @ w2.T + b2)
            return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))

        def update(state: Any, x: Any, y: Any) -> Any:
            weights, m, v, t = state
            value, grads = jax.value_and_grad(loss)(weights, x, y)
            t = t + 1
            m = [a + (1 - BETA1) * (g - a) for a, g in zip(m, grads)]
            v = [BETA2 * b + (1 - BETA2) * g * g for b, g in zip(v, grads)]
            rate, root = RATE / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
            weights = [w - rate * a / (jnp.sqrt(b) / root + EPS) for w, a, b in zip(weights, m, v)]
            return value, (weights, m, v, t)

        jitted = jax.jit(update, donate_argnums=0)
        weights = [jnp.array(w) for w in data.weights]
        state: Any = (weights, [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights])
        state = (*state, jnp.zeros((), data.x.dtype))
        batches = itertools.cycle(data.batches)

        def step() -> Any:
            nonlocal state
            batch = next(batches)
            value, state = jitted(state, data.x[batch], data.y[batch])
            return value

        return step


def load(device: str, threads: int) -> Lab:
    """The lab; RuntimeError where JAX has no such device."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", device)
    jax.numpy.zeros(1).block_until_ready()
    return JaxLab("jax", jax, device)
