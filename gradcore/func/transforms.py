"""`grad`, `vjp`, `jvp` and the matrices: transforms of functions of nested tensors, on the ordinary tape."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.derivatives import Tangents, filled_like, gradients, jacobian, jacobian_by_rows, with_history_of
from ..autograd.forward_ad import dual_level, make_dual, unpack_dual
from ..autograd.grad_mode import is_grad_enabled, mode, recording
from ..autograd.tangents import check_size
from ..autograd.tape import wants_grad
from ..autograd.variable import Variable
from ..utils._pytree import Structure, flatten, unflatten
from .level import Level

ArgNums = int | tuple[int, ...]

_JVP = "jvp(f, primals, tangents)"
_VJP = "vjp(f, *primals)"


# ---------------------------------------------------------------- arguments and results
def _positions(argnums: Any, count: int) -> list[int]:
    """Which of `count` arguments `argnums` names."""
    if not isinstance(argnums, (int, tuple)):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    found = []
    for n in argnums if isinstance(argnums, tuple) else (argnums,):
        if not isinstance(n, int):
            raise RuntimeError(f"argnum must be int, got: {type(n)}")
        if not -count <= n < count:
            raise RuntimeError(f"Got argnum={n}, but only {count} positional inputs")
        found.append(n % count)
    if not found:
        raise RuntimeError("argnums must be non-empty")
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {tuple(found)}")
    return found


def _selected(args: Sequence[Any], argnums: ArgNums | None) -> Any:
    """The argument that `argnums` names, the tuple of those, or all of them."""
    if argnums is None:
        return tuple(args)
    found = [args[i] for i in _positions(argnums, len(args))]
    return tuple(found) if isinstance(argnums, tuple) else found[0]


def _replaced(args: Sequence[Any], values: Any, argnums: ArgNums | None) -> tuple[Any, ...]:
    """The arguments with `values` where `_selected` took its own."""
    if argnums is None:
        return tuple(values)
    changed = list(args)
    for i, value in zip(_positions(argnums, len(args)), values if isinstance(argnums, tuple) else (values,)):
        changed[i] = value
    return tuple(changed)


def _split(output: Any, has_aux: bool, api: str) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{api}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


def _check_tensors(leaves: list[Any], api: str) -> None:
    """RuntimeError unless `leaves` are what a function to differentiate may return."""
    if not leaves or (len(leaves) == 1 and leaves[0] is None):
        raise RuntimeError(f"{api}: Expected f to be a function that has non-empty output (got output = {leaves})")
    for leaf in leaves:
        if not isinstance(leaf, Variable):
            raise RuntimeError(f"{api}: expected f(*primals) to return only tensors, got unsupported type {type(leaf)}")


def _zeros_for_none(found: Sequence[Any], like: Sequence[Any]) -> list[Any]:
    return [filled_like(t) if g is None else g for g, t in zip(found, like)]


# ---------------------------------------------------------------- a function, run once at its arguments
class _Run:
    """A function run on variables of a new level, and what can be asked of that."""

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        argnums: ArgNums | None,
        has_aux: bool,
        api: str,
        kwargs: dict[str, Any] | None = None,
    ):
        self.level = Level()
        primals = self.level.variables(_selected(args, argnums))
        self.primals: list[Any]
        self.primals, self.primals_structure = flatten(primals)
        with self.level, recording(True):
            result = func(*_replaced(args, primals, argnums), **(kwargs or {}))
        self.output, aux = _split(result, has_aux, api)
        self.aux = (self.level.released(aux),) if has_aux else ()  # as the end of a tuple of results
        outputs, self.outputs_structure = flatten(self.output)
        # The caller gets the output itself, and may change it before asking for more.
        self.outputs = [with_history_of(out) if isinstance(out, Variable) else out for out in outputs]

    def released(self, leaves: Sequence[Any], structure: Structure) -> Any:
        return self.level.released(unflatten(leaves, structure))

    def released_output(self) -> Any:
        return self.level.released(self.output)

    def pulled_back(self, cotangents: Sequence[Any] | None, retain_graph: bool, create_graph: bool) -> Any:
        """The gradients of the primals."""
        found = gradients(
            self.outputs, self.primals, cotangents, retain_graph=retain_graph or create_graph, create_graph=create_graph
        )
        return self.released(_zeros_for_none(found, self.primals), self.primals_structure)

    def tangents(self) -> Tangents:
        """The map from tangents of the primals to those of the outputs."""
        with recording(True):
            made = Tangents(self.outputs, self.primals)
        self.level.own(made.seeds)
        return made

    def pushed_forward(self, through: Tangents, tangents: Sequence[Any], strict: bool = False) -> Any:
        """The tangents of the outputs; RuntimeError, under `strict`, for one that depends on no primal."""
        create_graph = self.level.leads_out(*self.outputs) or (is_grad_enabled() and any(map(wants_grad, tangents)))
        found = through.of(tangents, create_graph)
        if strict:
            _check_dependent(found)
        return self.released(_zeros_for_none(found, self.outputs), self.outputs_structure)

    def matrix(self, blocks: Sequence[Sequence[Any]]) -> Any:
        """Blocks by output and primal, in the structure of the outputs with that of the primals inside."""
        inner = [self.released(row, self.primals_structure) for row in blocks]
        return unflatten(inner, self.outputs_structure)


# ---------------------------------------------------------------- gradients
def grad_and_value(
    func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the gradient of `func`, and its value.

    Args:
        func: returns a zero-dimensional tensor, or, with `has_aux`, that and anything else, as a tuple.
        argnums: the position of the argument to differentiate by, or a tuple of positions. The arguments there are
            tensors or any nesting of tuples, lists and dictionaries of tensors.
        has_aux: `func` returns `(output, aux)`.

    Returns:
        A function of the arguments of `func` that returns `(gradient, value)`, with `has_aux` `(gradient, (value,
        aux))`. The gradient has the structure of the argument; for a tuple of positions it is a tuple of them.

    >>> import gradcore as torch
    >>> grad_and_value(lambda x: (x**2).sum())(torch.tensor([1.0, 2.0]))
    (tensor([2., 4.]), tensor(5.))
    """

    @functools.wraps(func)
    def transformed(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        run = _Run(func, args, argnums, has_aux, "grad_and_value(f)(*args)", kwargs)
        output = run.output
        if not isinstance(output, Variable):
            raise RuntimeError(f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}")
        if output._array.ndim:
            raise RuntimeError(
                "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                f"{output._array.ndim} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
            )
        gradient = run.pulled_back(None, retain_graph=has_aux, create_graph=run.level.leads_out(output))
        value = run.released_output()
        return gradient, ((value, *run.aux) if has_aux else value)

    return transformed


def grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns the gradient of `func`, with `has_aux` `(gradient, aux)`; see `grad_and_value`.

    >>> import gradcore as torch
    >>> grad(lambda x: x.sin())(torch.tensor(0.0))
    tensor(1.)
    >>> grad(lambda p, x: (p["w"] * x + p["b"]).sum())({"w": torch.ones(2), "b": torch.zeros(())}, torch.ones(2))
    {'w': tensor([1., 1.]), 'b': tensor(2.)}
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def transformed(*args: Any, **kwargs: Any) -> Any:
        gradient, rest = both(*args, **kwargs)
        return (gradient, rest[1]) if has_aux else gradient

    return transformed


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of `func` at `primals`, and the function that multiplies its transposed Jacobian there.

    Args:
        func: returns tensors, nested in any way; with `has_aux`, those and anything else, as a tuple.
        primals: the positional arguments, tensors nested in any way.

    Returns:
        `(output, vjp_fn)`, with `has_aux` `(output, vjp_fn, aux)`. `vjp_fn(cotangents)` takes what has the structure of
        the output and returns a tuple with one entry, of its structure, for each of `primals`; it may be called again.

    >>> import gradcore as torch
    >>> output, vjp_fn = vjp(lambda x: (x**2, -x), torch.tensor([1.0, 2.0]))
    >>> vjp_fn((torch.ones(2), torch.zeros(2)))
    (tensor([2., 4.]),)
    """
    run = _pullback(func, primals, None, has_aux)

    def vjp_fn(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        given, structure = flatten(cotangents)
        if structure != run.outputs_structure:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                f"function. cotangents: {structure}, primal output: {run.outputs_structure}"
            )
        if create_graph is None:
            wanted = any(isinstance(c, Variable) and wants_grad(c) for c in given)
            create_graph = run.level.leads_out(*run.outputs) or (wanted and is_grad_enabled())
        return run.pulled_back(given, retain_graph, create_graph)

    return run.released_output(), vjp_fn, *run.aux


def _pullback(func: Callable[..., Any], args: Sequence[Any], argnums: ArgNums | None, has_aux: bool) -> _Run:
    run = _Run(func, args, argnums, has_aux, _VJP)
    _check_tensors(run.outputs, _VJP)
    for out in run.outputs:
        if not dtypes.from_numpy(out._array.dtype).is_floating_point:
            raise RuntimeError(
                "vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with dtype "
                f"{out.dtype}"
            )
    return run


# ---------------------------------------------------------------- tangents
def _check_primals(primals: Sequence[Any]) -> None:
    if not primals:
        raise RuntimeError(f"{_JVP}: Expected primals to contain at least one Tensor.")
    for t in primals:
        if not isinstance(t, Variable):
            raise RuntimeError(f"{_JVP}: Expected primals to only contain Tensors, got {type(t)}")
        dtype = dtypes.from_numpy(t._array.dtype)
        if not dtype.is_floating_point:
            raise ValueError(f"Expected primal to be floating point or complex, but got: {dtype}")


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> tuple[Any, ...]:
    """The value of `func` at `primals`, and its Jacobian there times `tangents`.

    It is forward mode (see `autograd.forward_ad`): a Function needs a `jvp`, and a `no_grad` inside of `func` makes no
    difference. Within forward mode, which does not nest, it is two backward passes.

    Args:
        func: returns tensors, nested in any way; with `has_aux`, those and anything else, as a tuple.
        primals: the tuple of the positional arguments, tensors nested in any way.
        tangents: of the same structure and shapes.
        strict: RuntimeError, instead of a zero tangent, for an output that does not depend on `primals`.

    Returns:
        `(output, tangent of the output)`, with `has_aux` `(output, tangent, aux)`.

    >>> import gradcore as torch
    >>> jvp(lambda x: x.sum() * x, (torch.ones(2),), (torch.tensor([1.0, 0.0]),))
    (tensor([2., 2.]), tensor([3., 1.]))
    """
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{_JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    flat_primals, structure = flatten(primals)
    flat_tangents, given = flatten(tangents)
    if structure != given:
        raise RuntimeError(
            f"{_JVP}: Expected primals and tangents to have the same python structure. For example, if primals is a "
            "tuple of 3 tensors, tangents also must be. Got primals with structure "
            f"{structure} and tangents with structure {given}"
        )
    _check_primals(flat_primals)
    for p, t in zip(flat_primals, flat_tangents):
        if not isinstance(t, Variable):
            raise RuntimeError(f"{_JVP}: Expected tangents to only contain Tensors, got {type(t)}")
        check_size(p, t)
    if mode.dual_level is None:
        return _forward(func, list(zip(flat_primals, flat_tangents)), structure, strict, has_aux)
    run = _Run(func, primals, None, has_aux, _JVP)
    _check_tensors(run.outputs, _JVP)
    tangent = run.pushed_forward(run.tangents(), flat_tangents, strict)
    return run.released_output(), tangent, *run.aux


def _forward(
    func: Callable[..., Any], pairs: Sequence[tuple[Any, Any]], structure: Structure, strict: bool, has_aux: bool
) -> tuple[Any, ...]:
    """`jvp` by forward mode, for `pairs` of a primal and its tangent."""
    with dual_level():
        output, aux = _split(func(*unflatten([make_dual(p, t) for p, t in pairs], structure)), has_aux, _JVP)
        outputs, outputs_structure = flatten(output)
        _check_tensors(outputs, _JVP)
        found = [unpack_dual(out).tangent for out in outputs]
    if strict:
        _check_dependent(found)
    return output, unflatten(_zeros_for_none(found, outputs), outputs_structure), *((aux,) if has_aux else ())


def _check_dependent(tangents: Sequence[Any]) -> None:
    if any(t is None for t in tangents):
        raise RuntimeError(
            "jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not allowed "
            "with strict=True."
        )


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """The value of `func` at `primals`, and the function that multiplies its Jacobian there.

    `func` runs once; each product costs about one backward pass more. See `jvp`.

    Args:
        func: returns tensors, nested in any way.
        primals: the positional arguments, tensors nested in any way.

    Returns:
        `(output, jvp_fn)`; `jvp_fn(*tangents)` takes what has the structure, shapes, dtypes and devices of `primals`.

    >>> import gradcore as torch
    >>> output, jvp_fn = linearize(lambda x: x**2, torch.tensor([1.0, 3.0]))
    >>> jvp_fn(torch.tensor([1.0, 0.0])), jvp_fn(torch.tensor([0.0, 1.0]))
    (tensor([2., 0.]), tensor([0., 6.]))
    """
    flat_primals, structure = flatten(primals)
    _check_primals(flat_primals)
    run = _Run(func, primals, None, False, "linearize(f, *primals)")
    _check_tensors(run.outputs, "linearize(f, *primals)")
    through = run.tangents()

    def jvp_fn(*tangents: Any) -> Any:
        given, found = flatten(tangents)
        if found != structure:
            raise RuntimeError(f"Expected the tangents {found} to have the same argspec as the primals {structure}")
        for i, (t, p) in enumerate(zip(given, run.primals)):
            for what in ("shape", "device", "dtype"):
                if getattr(t, what) != getattr(p, what):
                    raise RuntimeError(
                        f"tangent:{i} with {what} {getattr(t, what)} in flattened pytree doesn't match the {what} "
                        f"{getattr(p, what)} of the corresponding primal."
                    )
        return run.pushed_forward(through, given)

    return run.released_output(), jvp_fn


# ---------------------------------------------------------------- matrices
def jacrev(
    func: Callable[..., Any], argnums: ArgNums = 0, *, has_aux: bool = False, chunk_size: int | None = None
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `func`, by a backward pass for all elements of an output at once.

    Args:
        func: returns tensors, nested in any way; with `has_aux`, those and anything else, as a tuple.
        argnums: as for `grad_and_value`.
        chunk_size: how many rows to compute at once, at most; None: all, for the most speed and memory.

    Returns:
        A function of the positional arguments of `func`. It returns the structure of the output in which each tensor is
        replaced by the structure of the argument (for a tuple `argnums`, a tuple of those), of tensors of shape
        `output.shape + input.shape`; with `has_aux`, `(jacobian, aux)`.

    >>> import gradcore as torch
    >>> jacrev(lambda x: x**2)(torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def transformed(*args: Any) -> Any:
        _positions(argnums, len(args))  # None, which stands for all arguments elsewhere, is refused
        run = _pullback(func, args, argnums, has_aux)
        # (One row alone is a plain backward pass.)
        if chunk_size == 1:
            blocks = [jacobian_by_rows(out, run.primals, run.level.leads_out(out)) for out in run.outputs]
        else:
            blocks = [jacobian(out, run.primals, run.level.leads_out(out), chunk_size) for out in run.outputs]
        matrix = run.matrix(blocks)
        return (matrix, *run.aux) if has_aux else matrix

    return transformed


def jacfwd(
    func: Callable[..., Any], argnums: ArgNums | None = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """A function that returns the Jacobian of `func`, by products with all unit tangents at once.

    For functions with more outputs than inputs; arguments and results as for `jacrev`, and `argnums` None stands for
    all arguments. The products are those of `linearize`. `randomness` has no effect: `func` runs once.

    >>> import gradcore as torch
    >>> jacfwd(lambda x: x * torch.ones(3))(torch.tensor(2.0))
    tensor([1., 1., 1.])
    """

    @functools.wraps(func)
    def transformed(*args: Any) -> Any:
        _check_primals(flatten(_selected(args, argnums))[0])
        run = _Run(func, args, argnums, has_aux, _JVP)
        _check_tensors(run.outputs, _JVP)
        matrix = run.matrix(run.tangents().jacobians(run.level.leads_out(*run.outputs)))
        return (matrix, *run.aux) if has_aux else matrix

    return transformed


def hessian(func: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """A function that returns the Hessian of `func`: the Jacobian of its Jacobian, `jacrev(jacrev(func))`.

    Args:
        func: returns tensors, nested in any way; usually one of one element.
        argnums: as for `grad_and_value`.

    >>> import gradcore as torch
    >>> hessian(lambda x: (x**3).sum())(torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacrev(jacrev(func, argnums), argnums)
