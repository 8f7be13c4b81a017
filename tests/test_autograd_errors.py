"""What the tape refuses, in PyTorch's words; and that nothing is changed when it does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from behaviour import fails, leaf

import gradcore as gc

Code = Callable[[Any, str], Any]


def _twice(m: Any, d: str) -> None:
    y = leaf(m, d, [1.0]).exp().sum()
    y.backward()
    y.backward()


def _non_leaf_flag(m: Any, d: str) -> None:
    (leaf(m, d, [1.0]) * 2).requires_grad = False


def _set_flag_of_result(m: Any, d: str) -> None:
    (leaf(m, d, [1.0]) * 2).requires_grad = True


def _integer_setter(m: Any, d: str) -> None:
    m.tensor([1], device=d).requires_grad = True


def _assign_grad(value: Callable[[Any, str], Any]) -> Code:
    def code(m: Any, d: str) -> None:
        leaf(m, d, [1.0, 2.0, 3.0]).grad = value(m, d)

    return code


def _own_grad(m: Any, d: str) -> None:
    x = leaf(m, d, [1.0])
    x.grad = x


def _named_hook(change: Callable[[Any], Any]) -> Code:
    def code(m: Any, d: str) -> None:
        def my_hook(g: Any) -> Any:
            return change(g)

        x = leaf(m, d, [1.0, 2.0, 3.0])
        x.register_hook(my_hook)
        x.sum().backward()

    return code


FREED = (
    "RuntimeError: Trying to backward through the graph a second time (or directly access saved tensors after they "
    "have already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
    "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need "
    "to access saved tensors after calling backward."
)
NO_GRAD_FN = "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn"
SHAPE = (
    "RuntimeError: Mismatch in shape: grad_output[0] has a shape of gradcore.Size([4]) and output[0] has a shape of "
    "gradcore.Size([3])."
)
ERRORS: dict[str, tuple[Code, str]] = {
    "non-scalar": (
        lambda m, d: (leaf(m, d, [1.0, 2.0]) * 2).backward(),
        "RuntimeError: grad can be implicitly created only for scalar outputs",
    ),
    "no grad_fn": (lambda m, d: m.ones(1, device=d).backward(), NO_GRAD_FN),
    "grad without grad_fn": (lambda m, d: m.autograd.grad(m.ones(1, device=d), leaf(m, d, [1.0])), NO_GRAD_FN),
    "integer result": (lambda m, d: leaf(m, d, [1.0]).argmax().backward(), NO_GRAD_FN),
    "second backward": (_twice, FREED),
    "integer leaf": (
        lambda m, d: m.tensor([1], requires_grad=True, device=d),
        "RuntimeError: Only Tensors of floating point and complex dtype can require gradients",
    ),
    "integer setter": (
        _integer_setter,
        "RuntimeError: only Tensors of floating point and complex dtype can require gradients",
    ),
    "integer method": (
        lambda m, d: m.tensor([True], device=d).requires_grad_(),
        "RuntimeError: only Tensors of floating point dtype can require gradients",
    ),
    "numpy()": (
        lambda m, d: leaf(m, "cpu", [1.0]).numpy(),
        "RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.",
    ),
    "requires_grad=False": (
        _non_leaf_flag,
        "RuntimeError: you can only change requires_grad flags of leaf variables. If you want to use a computed "
        "variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().",
    ),
    "requires_grad=True": (
        _set_flag_of_result,
        "RuntimeError: you can only change requires_grad flags of leaf variables.",
    ),
    "unused": (
        lambda m, d: m.autograd.grad(leaf(m, d, [1.0]) * 2, leaf(m, d, [1.0])),
        "RuntimeError: The differentiated Tensor at index 0 appears to not have been used in the graph. Set "
        "allow_unused=True if this is the desired behavior.",
    ),
    "input without grad": (
        lambda m, d: m.autograd.grad(leaf(m, d, [1.0]) * 2, m.ones(1, device=d)),
        "RuntimeError: One of the differentiated Tensors does not require grad",
    ),
    "shape": (lambda m, d: (leaf(m, d, [1.0, 2.0, 3.0]) * 2).backward(m.ones(4, device=d)), SHAPE),
    "shape in grad": (
        lambda m, d: m.autograd.grad(leaf(m, d, [1.0, 2.0, 3.0]) * 2, leaf(m, d, [1.0]), m.ones(4, device=d)),
        SHAPE,
    ),
    "type of gradient": (
        lambda m, d: m.autograd.backward([leaf(m, d, [1.0]) * 2], [3]),
        "TypeError: gradients can be either Tensors or None, but got int",
    ),
    "number of gradients": (
        lambda m, d: m.autograd.backward([leaf(m, d, [1.0])] * 2, [m.ones(1, device=d)]),
        "RuntimeError: got 2 tensors and 1 gradients",
    ),
    "number of grad_outputs": (
        lambda m, d: m.autograd.grad([leaf(m, d, [1.0])] * 2, leaf(m, d, [1.0]), [m.ones(1, device=d)]),
        "RuntimeError: got 2 tensors and 1 gradients",
    ),
    "inputs=[]": (
        lambda m, d: (leaf(m, d, [1.0]) * 2).backward(inputs=[]),
        "RuntimeError: `inputs` argument to `backward()` cannot be empty.",
    ),
    "materialize_grads": (
        lambda m, d: m.autograd.grad(leaf(m, d, 1.0) * 2, leaf(m, d, 1.0), allow_unused=False, materialize_grads=True),
        "ValueError: Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
        "allow_unused=False.",
    ),
    ".grad of another shape": (
        _assign_grad(lambda m, d: m.ones(4, device=d)),
        "RuntimeError: attempting to assign a gradient of size '[4]' to a tensor of size '[3]'. Please ensure that the "
        "gradient and the tensor are the same size",
    ),
    ".grad of another type": (
        _assign_grad(lambda m, d: 3),
        "TypeError: assigned grad expected to be a Tensor or None but got grad of type int",
    ),
    ".grad itself": (_own_grad, "RuntimeError: can't assign Variable as its own grad"),
    "hook without grad": (
        lambda m, d: m.ones(1, device=d).register_hook(print),
        "RuntimeError: cannot register a hook on a tensor that doesn't require gradient",
    ),
    "post hook without grad": (
        lambda m, d: m.ones(1, device=d).register_post_accumulate_grad_hook(print),
        "RuntimeError: cannot register a hook on a tensor that doesn't require gradient",
    ),
    "post hook of a result": (
        lambda m, d: (leaf(m, d, [1.0]) * 2).register_post_accumulate_grad_hook(print),
        "RuntimeError: post accumulate grad hooks cannot be registered on non-leaf tensors",
    ),
    "retain_grad without grad": (
        lambda m, d: m.ones(1, device=d).retain_grad(),
        "RuntimeError: can't retain_grad on Tensor that has requires_grad=False",
    ),
    "hook: size": (_named_hook(lambda g: g[:2]), "RuntimeError: hook 'my_hook' has changed the size of value"),
    "hook: type": (
        _named_hook(lambda g: g.double()),
        "RuntimeError: hook 'my_hook' has changed the type of value (was gradcore.FloatTensor got "
        "gradcore.DoubleTensor)",
    ),
    "deepcopy": (
        lambda m, d: copy.deepcopy(leaf(m, d, [1.0]) * 2),
        "RuntimeError: Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the "
        "moment.  If you were attempting to deepcopy a module, this may be because of a gradcore.nn.utils.weight_norm "
        "usage, see https://github.com/pygradcore/pygradcore/pull/103001",  # `torch` is replaced in links too
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error(case: str, device: str) -> None:
    code, expected = ERRORS[case]
    found = fails(code, device, wording=device == "cpu")
    assert found.replace("gradcore.cuda.", "gradcore.") == expected


def test_gradients_of_another_dtype_or_device_are_refused(device: str) -> None:
    x = gc.ones(3, device=device, requires_grad=True)
    with pytest.raises(RuntimeError, match="gradient with dtype 'Double' to a tensor with dtype 'Float'"):
        x.grad = gc.ones(3, dtype=gc.float64, device=device)
    assert x.grad is None
    if device != "cpu":
        with pytest.raises(RuntimeError, match=r"located on device 'cpu'.*Please move one with \.to\(\)"):
            x.grad = gc.ones(3)
        with pytest.raises(RuntimeError, match=r"gradient 0 is on cpu but its tensor is on cuda"):
            (x * 2).backward(gc.ones(3))


def test_a_failed_backward_leaves_gradients_alone(device: str) -> None:
    x, w = gc.ones(2, device=device, requires_grad=True), gc.ones(2, device=device, requires_grad=True)
    (x * w).sum().backward()
    y = x.exp()
    w.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="has changed the size"):
        (y * w).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0] and w.grad.tolist() == [1.0, 1.0]
