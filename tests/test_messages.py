"""What users meet when something is not as PyTorch has it: error, warning and value, in PyTorch's words.

Each case is a heading, a few lines of code and what they come to: the warnings and then the error, or the value of `out`,
or "nothing". They run with gradcore and, where it is installed, with PyTorch, `torch` replaced by `gradcore`. A line is the
same text as PyTorch's (`>`), which one of the two may continue: gradcore names the operation or the fix, PyTorch has
hints about things that gradcore has not. Or only the type of the error is (`~`).
"""

# ruff: noqa: E501 (one line for each message)
from __future__ import annotations

import copy
import math
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from conftest import torch

import gradcore as gc

CASES = r"""
## the table
# non-scalar
(leaf(1, 2) * 2).backward()
> RuntimeError: grad can be implicitly created only for scalar outputs
# non-scalar: autograd.backward
m.autograd.backward(leaf(1, 2) * 2)
> RuntimeError: grad can be implicitly created only for scalar outputs
# non-scalar: autograd.grad
x = leaf(1, 2)
m.autograd.grad(x * 2, x)
> RuntimeError: grad can be implicitly created only for scalar outputs
# no grad_fn
ones(1).backward()
> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
# no grad_fn: second of several
m.autograd.backward([leaf(1).sum(), ones(())])
> RuntimeError: element 1 of tensors does not require grad and does not have a grad_fn
# no grad_fn: autograd.grad
m.autograd.grad(ones(1), leaf(1))
> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
# no grad_fn: argmax
leaf(1, 2).argmax().backward()
> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
# no grad_fn: comparison
(leaf(1) > 0).backward()
> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
# no grad_fn: under no_grad
x = leaf(1)
with m.no_grad():
    y = x * 2
y.backward()
> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
# second backward
y = leaf(1).exp().sum()
y.backward()
y.backward()
> RuntimeError: Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward.
# second backward of autograd.grad
x = leaf(1)
y = x.exp().sum()
m.autograd.grad(y, x)
m.autograd.grad(y, x)
> RuntimeError: Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward.
# second backward of a graph that keeps nothing
y = (leaf(1) + 1).sum()
y.backward()
y.backward()
out = 'fine'
> 'fine'
# integer constructor
tensor([1], requires_grad=True)
> RuntimeError: Only Tensors of floating point and complex dtype can require gradients
# bool zeros
zeros(2, dtype=m.bool, requires_grad=True)
> RuntimeError: Only Tensors of floating point and complex dtype can require gradients
# integer ones
ones(2, dtype=m.int64, requires_grad=True)
> RuntimeError: Only Tensors of floating point and complex dtype can require gradients
# integer setter
tensor([1]).requires_grad = True
> RuntimeError: only Tensors of floating point and complex dtype can require gradients
# integer method
tensor([1]).requires_grad_()
> RuntimeError: only Tensors of floating point dtype can require gradients
# integer method, False
out = tensor([1]).requires_grad_(False).requires_grad
> False
# Parameter of integers
m.nn.Parameter(tensor([1]))
> RuntimeError: Only Tensors of floating point and complex dtype can require gradients
# in-place on a leaf
leaf(1, 2).add_(1)
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: operator
x = leaf(1, 2)
x += 1
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: zero_
leaf(1).zero_()
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: copy_
leaf(1).copy_(ones(1))
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: fill_
leaf(1).fill_(2)
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: uniform_
leaf(1).uniform_()
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: normal_
leaf(1).normal_()
> RuntimeError: a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a leaf: detach_ is none
out = leaf(1).detach_().requires_grad
> False
# in-place on a leaf under no_grad
x = leaf(1)
with m.no_grad():
    x += 1
out = x, x._version
> (tensor([2.], requires_grad=True), 1)
# in-place on a view of a leaf
leaf(1, 2)[0].add_(1)
> RuntimeError: a view of a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a view of a leaf: setitem
leaf(1, 2)[0] = 1
> RuntimeError: a view of a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a view of a leaf: view
leaf(1, 2).view(2).mul_(2)
> RuntimeError: a view of a leaf Variable that requires grad is being used in an in-place operation.
# in-place on a view of a leaf: narrow
leaf(1, 2).narrow(0, 0, 1).mul_(2)
> RuntimeError: a view of a leaf Variable that requires grad is being used in an in-place operation.
# in-place on an output of split
x = leaf(1, 2, 3) * 1
x.split(1)[0].add_(1)
> RuntimeError: Output 0 of Split is a view and is being modified inplace. This view is the output of a function that returns multiple views. Such functions do not allow the output views to be modified inplace. You should replace the inplace operation by an out-of-place one.
# in-place on an output of chunk
x = leaf(1, 2, 3) * 1
x.chunk(3)[0].add_(1)
> RuntimeError: Output 0 of Split is a view and is being modified inplace. This view is the output of a function that returns multiple views. Such functions do not allow the output views to be modified inplace. You should replace the inplace operation by an out-of-place one.
# in-place on an output of split under no_grad
x = leaf(1, 2, 3) * 1
with m.no_grad():
    x.split(1)[0].add_(1)
out = x
> tensor([2., 2., 3.], grad_fn=<MulBackward0>)
# in-place on a view made under no_grad
x = leaf(1, 2, 3) * 1
with m.no_grad():
    v = x[:2]
v.add_(1)
> RuntimeError: A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked).
# in-place on a view of a leaf made under no_grad
x = leaf(1, 2, 3)
with m.no_grad():
    v = x[:2]
v.add_(1)
> RuntimeError: A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace either both inside the no_grad block (if you don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked).
# in-place on an expanded tensor
ones(1).expand(3).add_(1)
> RuntimeError: unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the tensor before performing the operation.
# in-place on an expanded tensor: copy_
ones(1).expand(3).copy_(ones(3))
> RuntimeError: unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the tensor before performing the operation.
# in-place: larger result
ones(1).add_(ones(3))
~ RuntimeError: add_(): output with shape [1] doesn't match the broadcast shape [3]
# in-place: dtype
ones(1, dtype=m.int64).add_(0.5)
~ RuntimeError: add_(): result type Float can't be cast to the desired output type Long
# saved tensor modified
x = leaf(1, 2, 3)
y = x.exp()
z = y.sum()
y.add_(1)
z.backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]], which is output 0 of Exp, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by ExpBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: input
x = leaf(1, 2, 3) * 1
y = (x * x).sum()
x.add_(1)
y.backward()
~ RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]], which is output 0 of Mul, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by MulBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: not saved
x = leaf(1, 2, 3) * 1
y = (x + x).sum()
x.mul_(2)
y.backward()
out = 'fine'
> 'fine'
# saved tensor modified: parameter
w = leaf(1, 2, 3)
y = (w * tensor([1., 2., 3.]) * w).sum()
with m.no_grad():
    w.sub_(1)
y.backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]] is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by MulBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: through a view
x = leaf(1, 2, 3) * 1
y = x.exp()
y[0] = 0
y.sum().backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]], which is output 0 of Exp, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by ExpBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: through detach
x = leaf(1, 2, 3)
y = x.sigmoid()
y.detach().zero_()
y.sum().backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]], which is output 0 of Sigmoid, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by SigmoidBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: through data
x = leaf(1., 2., 3.)
y = x.exp()
y.data.zero_()
y.sum().backward()
out = x.grad
> tensor([0., 0., 0.])
# saved tensor modified: twice
x = leaf(1, 2, 3)
y = x.tanh()
y.mul_(2).add_(1)
y.sum().backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]], which is output 0 of Tanh, is at version 2; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by TanhBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: double
x = leaf64(1, 2, 3)
y = x.sqrt()
y += 1
y.sum().backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.DoubleTensor [3]], which is output 0 of Sqrt, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by SqrtBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: relu
x = leaf(1, 2, 3)
y = x.relu()
y += 1
y.sum().backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [3]], which is output 0 of Relu, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by ReluBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# saved tensor modified: matmul
x = leaf([1, 2], [3, 4])
w = ones(2, 2)
y = (x @ w).sum()
w.add_(1)
y.backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [2, 2]] is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by MmBackward0 for its backward pass: use the out-of-place operation, or change a clone().
# numpy()
leaf(1).numpy()
> RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.
# numpy() through asarray
np.asarray(leaf(1))
> RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.
# numpy() of a result
(leaf(1) * 2).numpy()
> RuntimeError: Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.
# numpy(force=True)
out = leaf(1).numpy(force=True).tolist()
> [1.0]
# tolist of what requires grad
out = leaf(1, 2).tolist()
> [1.0, 2.0]
# requires_grad=False on a result
(leaf(1) * 2).requires_grad = False
> RuntimeError: you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().
# requires_grad=True on a result
(leaf(1) * 2).requires_grad = True
> RuntimeError: you can only change requires_grad flags of leaf variables.
# requires_grad_(False) on a result
(leaf(1) * 2).requires_grad_(False)
> RuntimeError: you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach().
# requires_grad_() on a result
out = (leaf(1) * 2).requires_grad_().requires_grad
> True
# requires_grad: not a bool
ones(1).requires_grad = 'a'
> RuntimeError: requires_grad must be a bool
# requires_grad: a number
ones(1).requires_grad = 1
> RuntimeError: requires_grad must be a bool
# requires_grad_: not a bool
ones(1).requires_grad_('a')
> TypeError: requires_grad_(): argument 'requires_grad' (position 1) must be bool, not str
# requires_grad deleted
x = leaf(1)
del x.requires_grad
> RuntimeError: requires_grad must be a bool
# grad deleted
x = leaf(1)
x.sum().backward()
del x.grad
out = x.grad
> None
# unused input
m.autograd.grad(leaf(1) * 2, leaf(1))
> RuntimeError: The differentiated Tensor at index 0 appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior.
# unused input: second
x = leaf(1)
m.autograd.grad(x * 2, [x, leaf(1)])
> RuntimeError: The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior.
# unused input allowed
x = leaf(1)
out = m.autograd.grad(x * 2, [x, leaf(1)], allow_unused=True)
> (tensor([2.]), None)
# unused input materialized
x = leaf(1)
out = m.autograd.grad(x * 2, [x, leaf(1)], materialize_grads=True)
> (tensor([2.]), tensor([0.]))
# unused input materialized, allow_unused False
x = leaf(1)
m.autograd.grad(x * 2, [x, leaf(1)], materialize_grads=True, allow_unused=False)
> ValueError: Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.
# input without grad
m.autograd.grad(leaf(1) * 2, ones(1))
> RuntimeError: One of the differentiated Tensors does not require grad
# input without grad: backward
(leaf(1) * 2).backward(inputs=[ones(1)])
~ RuntimeError: One of the differentiated Tensors does not require grad (inputs[0])
# input without grad: an integer
m.autograd.grad(leaf(1) * 2, [ones(1, dtype=m.int64)])
> RuntimeError: One of the differentiated Tensors does not require grad
# input of another type
m.autograd.grad(leaf(1) * 2, 3)
> TypeError: 'int' object is not iterable
# input of another type in a list
m.autograd.grad(leaf(1) * 2, [3])
> RuntimeError: all inputs have to be Tensors or GradientEdges, but got int
# input of another type: backward
(leaf(1) * 2).backward(inputs=[3])
> RuntimeError: all inputs have to be Tensors or GradientEdges, but got int
# outputs of another type
m.autograd.grad(3, leaf(1))
> TypeError: 'int' object is not iterable
# outputs of another type in a list
m.autograd.grad([3], leaf(1))
> AssertionError: Expected output to be a gradcore.Tensor
# tensors of another type
m.autograd.backward([3])
> AssertionError: Expected output to be a gradcore.Tensor
# no inputs
m.autograd.grad(leaf(1) * 2, [])
> RuntimeError: `inputs` argument to `grad()` cannot be empty.
# no outputs
m.autograd.grad([], leaf(1))
> RuntimeError: The differentiated Tensor at index 0 appears to not have been used in the graph. Set allow_unused=True if this is the desired behavior.
# no tensors
m.autograd.backward([])
> nothing
# inputs as a generator
x = leaf(1)
out = m.autograd.grad([x * 2], [t for t in [x]])
> (tensor([2.]),)
# grad shape
(leaf(1, 2, 3) * 2).backward(ones(4))
> RuntimeError: Mismatch in shape: grad_output[0] has a shape of gradcore.Size([4]) and output[0] has a shape of gradcore.Size([3]).
# grad shape: grad_outputs
x = leaf(1, 2, 3)
m.autograd.grad(x * 2, x, ones(3, 1))
> RuntimeError: Mismatch in shape: grad_output[0] has a shape of gradcore.Size([3, 1]) and output[0] has a shape of gradcore.Size([3]).
# grad of another type
(leaf(1) * 2).backward(3)
> TypeError: 'int' object is not iterable
# grad of another type: float
m.autograd.backward([leaf(1) * 2], [3.0])
> TypeError: gradients can be either Tensors or None, but got float
# grad of another dtype
x = leaf(1)
(x * 2).backward(ones(1, dtype=m.float64))
out = x.grad
> tensor([2.])
# grad of integers
x = leaf(1)
(x * 2).backward(ones(1, dtype=m.int64))
out = x.grad
> tensor([2.])
# number of gradients
m.autograd.backward([leaf(1)] * 2, [ones(1)])
> RuntimeError: got 2 tensors and 1 gradients
# number of grad_outputs
x = leaf(1)
m.autograd.grad([x * 2, x * 3], x, [ones(1)])
> RuntimeError: got 2 tensors and 1 gradients
# gradients of None and a tensor
x = leaf(1)
m.autograd.backward([x.sum(), x * 2], [None, ones(1)])
out = x.grad
> tensor([3.])
# grad_tensors None in a list of non-scalars
m.autograd.backward([leaf(1, 2) * 2], [None])
> RuntimeError: grad can be implicitly created only for scalar outputs
# inputs=[]
(leaf(1) * 2).backward(inputs=[])
> RuntimeError: `inputs` argument to `backward()` cannot be empty.
# inputs=()
m.autograd.backward(leaf(1) * 2, inputs=())
> RuntimeError: `inputs` argument to `backward()` cannot be empty.
# inputs: a tensor
x = leaf(1)
(x * 2).backward(inputs=x)
out = x.grad
> tensor([2.])
# inputs: a result
x = leaf(1)
y = x * 2
(y * 3).sum().backward(inputs=[y])
out = y.grad, x.grad
> (tensor([3.]), None)
# create_graph
x = leaf(1)
(x * x).sum().backward(create_graph=True)
out = x.grad.requires_grad
> UserWarning: Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient which can cause a memory leak. We recommend using autograd.grad when creating the graph to avoid this. If you have to use this function, make sure to reset the .grad fields of your parameters to None after use to break the cycle and avoid the leak.
> True
# .grad of another shape
leaf(1, 2, 3).grad = ones(4)
> RuntimeError: attempting to assign a gradient of size '[4]' to a tensor of size '[3]'. Please ensure that the gradient and the tensor are the same size
# .grad of another type
leaf(1, 2, 3).grad = 3
> TypeError: assigned grad expected to be a Tensor or None but got grad of type int
# .grad: a list
leaf(1).grad = [1.0]
> TypeError: assigned grad expected to be a Tensor or None but got grad of type list
# .grad of another dtype
leaf(1, 2, 3).grad = ones(3, dtype=m.float64)
~ RuntimeError: attempting to assign a gradient with dtype 'Double' to a tensor with dtype 'Float'. Please ensure that the gradient and the tensor have the same dtype
# .grad of integers
leaf(1, 2, 3).grad = ones(3, dtype=m.int64)
~ RuntimeError: attempting to assign a gradient with dtype 'Long' to a tensor with dtype 'Float'. Please ensure that the gradient and the tensor have the same dtype
# .grad itself
x = leaf(1)
x.grad = x
> RuntimeError: can't assign Variable as its own grad
# .grad of a tensor that requires none
x = ones(2)
x.grad = ones(2)
out = x.grad
> tensor([1., 1.])
# .grad None
x = leaf(1)
x.sum().backward()
x.grad = None
out = x.grad
> None
# .grad is the tensor itself
x, g = leaf(1), ones(1)
x.grad = g
x.sum().backward()
out = x.grad is g, g
> (True, tensor([2.]))
# out=
m.add(leaf(1), 1, out=empty(1))
> RuntimeError: add(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.
# out=: matmul
m.mm(leaf([1]), ones(1, 1), out=empty(1, 1))
> RuntimeError: mm(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.
# out=: the result requires grad
m.add(ones(1), 1, out=leaf(1))
> RuntimeError: add(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.
# out=: fine
out = m.add(ones(1), 1, out=empty(1))
> tensor([2.])
# out= under no_grad
with m.no_grad():
    out = m.add(leaf(1), 1, out=empty(1))
> tensor([2.])
# Function: number of gradients
F(lambda ctx, x: x * 2, lambda ctx, g: (g, g))(leaf(1)).backward()
> RuntimeError: function FBackward returned an incorrect number of gradients (expected 1, got 2)
# Function: too few gradients
F(lambda ctx, x, y: x * y, lambda ctx, g: g)(leaf(1), leaf(1)).backward()
> RuntimeError: function FBackward returned an incorrect number of gradients (expected 2, got 1)
# Function: further None are ignored
x = leaf(1)
F(lambda ctx, x: x * 2, lambda ctx, g: (g, None))(x).backward()
out = x.grad
> tensor([1.])
# Function: shape
F(lambda ctx, x: x * 2, lambda ctx, g: ones(5))(leaf(1, 2, 3)).sum().backward()
> RuntimeError: Function FBackward returned an invalid gradient at index 0 - got [5] but expected shape compatible with [3]
# Function: type
F(lambda ctx, x: x * 2, lambda ctx, g: 3)(leaf(1)).backward()
> RuntimeError: expected Variable or None (got int) as gradient 0 of function FBackward
# Function: no gradient for a tensor
x = leaf(1)
F(lambda ctx, x: x * 2, lambda ctx, g: None)(x).backward()
out = x.grad
> None
# Function: a gradient for a tensor that needs none
x = leaf(1)
F(lambda ctx, x, k: x * k, lambda ctx, g: (g, g))(x, ones(1)).backward()
out = x.grad
> tensor([1.])
# Function: differentiated twice
x = leaf(1)
f = F(lambda ctx, x: x * 2, m.autograd.function.once_differentiable(lambda ctx, g: g * 2))
g, = m.autograd.grad((f(x) * x).sum(), x, create_graph=True)
g.backward()
> RuntimeError: trying to differentiate twice a function that was marked with @once_differentiable
# Function: once_differentiable, used once
x = leaf(1)
f = F(lambda ctx, x: x * 2, m.autograd.function.once_differentiable(lambda ctx, g: g * 2))
f(x).backward()
out = x.grad
> tensor([2.])
# Function: saving a number
F(lambda ctx, x: (ctx.save_for_backward(3), x)[1], None)(leaf(1))
> TypeError: save_for_backward can only save variables, but argument 0 is of type int
# Function: saving a list
F(lambda ctx, x: (ctx.save_for_backward([x]), x)[1], None)(leaf(1))
> TypeError: save_for_backward can only save variables, but argument 0 is of type list
# Function: saving None
x = leaf(1)
F(lambda ctx, x: (ctx.save_for_backward(None, x), x * 1)[1], lambda ctx, g: g if ctx.saved_tensors[0] is None else 0)(x).backward()
out = x.grad
> tensor([1.])
# Function: saved tensors freed
f = F(lambda ctx, x: (ctx.save_for_backward(x), x * 1)[1], lambda ctx, g: g * ctx.saved_tensors[0])
y = f(leaf(1))
y.backward()
y.backward()
> RuntimeError: Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward.
# Function: saved tensor modified
f = F(lambda ctx, x: (ctx.save_for_backward(x), x * 1)[1], lambda ctx, g: g * ctx.saved_tensors[0])
x = leaf(1) * 1
y = f(x)
x += 1
y.backward()
~ RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [1]], which is output 0 of Mul, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by FBackward for its backward pass: use the out-of-place operation, or change a clone().
# Function: saved output modified
f = F(saving_output, lambda ctx, g: g * ctx.saved_tensors[0])
y = f(leaf(1))
y += 1
y.backward()
> RuntimeError: one of the variables needed for gradient computation has been modified by an inplace operation: [gradcore.FloatTensor [1]], which is output 0 of F, is at version 1; expected version 0 instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with gradcore.autograd.set_detect_anomaly(True, check_nan=False). It was saved by FBackward for its backward pass: use the out-of-place operation, or change a clone().
# Function: no backward
F(lambda ctx, x: x * 2, None)(leaf(1)).backward()
> NotImplementedError: You must implement either the backward or vjp method for your custom autograd.Function to use it with backward mode AD.
# Function: no forward
m.autograd.Function.apply(leaf(1))
> NotImplementedError: You must implement the forward function for custom autograd.Function.
# Function: forward returns a number
out = F(lambda ctx, x: 3, None)(leaf(1))
> 3
# Function: forward returns None
out = F(lambda ctx, x: None, None)(leaf(1))
> None
# Function: dirty but not returned
F(lambda ctx, x: (ctx.mark_dirty(x), x + 1)[1], None)(leaf(1) * 1)
> RuntimeError: Some elements marked as dirty during the forward method were not returned as output. The inputs that are modified inplace must all be outputs of the Function.
# Function: dirty leaf
F(lambda ctx, x: (ctx.mark_dirty(x), x)[1], None)(leaf(1))
> RuntimeError: a leaf Variable that requires grad has been used in an in-place operation.
# Function: mark_dirty of a number
F(lambda ctx, x: (ctx.mark_dirty(3), x)[1], None)(leaf(1))
> RuntimeError: mark_dirty can only accept variables, but argument 0 is of type int
# Function: a non-differentiable output
F(lambda ctx, x: non_diff(ctx, x), None)(leaf(1)).backward()
> RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
# Function: the output is a view, changed in place
x = leaf(1, 2) * 1
y = F(lambda ctx, x: x.view(2), lambda ctx, g: g)(x)
y.add_(1)
> RuntimeError: Output 0 of F is a view and is being modified inplace. This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic to handle view+inplace would override the custom backward associated with the custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.
# Function: the input as is, changed in place
x = leaf(1, 2) * 1
y = F(lambda ctx, x: x, lambda ctx, g: g)(x)
y.add_(1)
> RuntimeError: Output 0 of F is a view and is being modified inplace. This view was created inside a custom Function (or because an input was returned as-is) and the autograd logic to handle view+inplace would override the custom backward associated with the custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.
# Function: name
out = F(lambda ctx, x: x * 2, None)(leaf(1)).grad_fn.name()
> 'FBackward'
# Function: needs_input_grad
seen = []
F(lambda ctx, x, k, y: (seen.append(ctx.needs_input_grad), x * 2)[1], lambda ctx, g: (g, None, None))(leaf(1), 3, ones(1)).backward()
out = seen
> [(True, False, False)]
# Function: a gradient for a number
F(lambda ctx, x, k: x * k, lambda ctx, g: (g, g))(leaf(1), 2).backward()
> RuntimeError: function FBackward returned a gradient different than None at position 2, but the corresponding forward input was not a Variable
# Function: instance
m.autograd.Function()(leaf(1))
~ DeprecationWarning: <class 'gradcore.autograd.function.Function'> should not be instantiated.
~ RuntimeError: Legacy autograd function with non-static forward method is deprecated.
# Function: mark_non_differentiable of a number
F(lambda ctx, x: (ctx.mark_non_differentiable(3), x * 1)[1], None)(leaf(1))
> RuntimeError: mark_non_differentiable only accepts variable arguments, but got int
# Function: keyword arguments
F(lambda ctx, x: x * 2, None)(x=leaf(1))
> nothing
# hook on what requires no grad
ones(1).register_hook(print)
> RuntimeError: cannot register a hook on a tensor that doesn't require gradient
# hook: size
x = leaf(1, 2, 3)
x.register_hook(hook(lambda g: g[:2]))
x.sum().backward()
> RuntimeError: hook 'my_hook' has changed the size of value
# hook: dtype
x = leaf(1, 2, 3)
x.register_hook(hook(lambda g: g.double()))
x.sum().backward()
> RuntimeError: hook 'my_hook' has changed the type of value (was gradcore.FloatTensor got gradcore.DoubleTensor)
# hook: type
x = leaf(1, 2, 3)
x.register_hook(hook(lambda g: 3))
x.sum().backward()
> TypeError: expected Variable, but hook returned 'int' (hook 'my_hook': return a Tensor or None)
# hook of a result: size
x = leaf(1, 2, 3) * 1
x.register_hook(hook(lambda g: g[:2]))
x.sum().backward()
> RuntimeError: hook 'my_hook' has changed the size of value
# hook: returns None
x = leaf(1)
x.register_hook(lambda g: None)
x.sum().backward()
out = x.grad
> tensor([1.])
# hook: not callable
leaf(1).register_hook(3)
> nothing
# hook: raises
x = leaf(1)
x.register_hook(hook(lambda g: 1 // 0))
x.sum().backward()
> ZeroDivisionError: integer division or modulo by zero
# post hook on what requires no grad
ones(1).register_post_accumulate_grad_hook(print)
> RuntimeError: cannot register a hook on a tensor that doesn't require gradient
# post hook on a result
(leaf(1) * 2).register_post_accumulate_grad_hook(print)
> RuntimeError: post accumulate grad hooks cannot be registered on non-leaf tensors
# retain_grad on what requires no grad
ones(1).retain_grad()
> RuntimeError: can't retain_grad on Tensor that has requires_grad=False
# retain_grad on a leaf
x = leaf(1)
x.retain_grad()
out = x.retains_grad
> False
# retain_grad twice
x = leaf(1)
y = x * 2
y.retain_grad()
y.retain_grad()
y.sum().backward()
out = y.grad, y.retains_grad
> (tensor([1.]), True)
# retain_grad, then in place
x = leaf(1)
y = x * 2
y.retain_grad()
y.mul_(3)
y.sum().backward()
out = y.grad, x.grad
> (tensor([1.]), tensor([6.]))
# deepcopy
copy.deepcopy(leaf(1) * 2)
> RuntimeError: Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  If you were attempting to deepcopy a module, this may be because of a gradcore.nn.utils.weight_norm usage, see https://github.com/pygradcore/pygradcore/pull/103001
# deepcopy of a leaf
x = leaf(1)
x.sum().backward()
y = copy.deepcopy(x)
out = y, y.grad, y.is_leaf, y.grad is x.grad
> (tensor([1.], requires_grad=True), tensor([1.]), True, False)
# deepcopy of a detached result
out = copy.deepcopy((leaf(1) * 2).detach())
> tensor([2.])
# deepcopy keeps sharing
x = leaf(1)
a, b = copy.deepcopy([x, x])
out = a is b
> True
# deepcopy of a Parameter
p = m.nn.Parameter(ones(2))
q = copy.deepcopy(p)
out = type(q).__name__, q.requires_grad, q is p
> ('Parameter', True, False)
# deepcopy of a frozen Parameter
p = m.nn.Parameter(ones(2), requires_grad=False)
out = copy.deepcopy(p).requires_grad
> False
# deepcopy of a Parameter with grad
p = m.nn.Parameter(ones(2))
p.sum().backward()
out = copy.deepcopy(p).grad is None
> True
# deepcopy of a view
x = arange(4.)
y = copy.deepcopy(x[1:3])
out = y, y._base is None, y.stride()
> (tensor([1., 2.]), True, (1,))
# deepcopy keeps strides
x = arange(6.).view(2, 3).t()
out = copy.deepcopy(x).stride()
> (1, 3)
# deepcopy keeps attributes
x = ones(1)
x.label = [1]
y = copy.deepcopy(x)
out = y.label, y.label is x.label
> ([1], False)
# copy of a leaf
x = leaf(1)
y = copy.copy(x)
out = y, y.is_leaf, y.data_ptr() == x.data_ptr()
> (tensor([1.], requires_grad=True), True, True)
# copy of a result
y = copy.copy(leaf(1) * 2)
out = y
> tensor([2.], requires_grad=True)
# copy of a Parameter
p = m.nn.Parameter(ones(2))
q = copy.copy(p)
out = type(q).__name__, q.requires_grad, q.data_ptr() == p.data_ptr()
> ('Parameter', True, True)
# copy keeps attributes
x = ones(1)
x.label = 'a'
out = copy.copy(x).label
> 'a'
# pickle of a leaf
x = leaf(1, 2)
x.sum().backward()
y = pickle.loads(pickle.dumps(x))
out = y, y.requires_grad, y.grad, y.is_leaf
> (tensor([1., 2.], requires_grad=True), True, None, True)
# pickle of a result
y = pickle.loads(pickle.dumps(leaf(1, 2) * 2))
out = y, y.requires_grad, y.is_leaf
> (tensor([2., 4.], requires_grad=True), True, True)
# pickle of a Parameter
p = m.nn.Parameter(ones(2))
q = pickle.loads(pickle.dumps(p))
out = type(q).__name__, q.requires_grad
> ('Parameter', True)
# pickle of a frozen Parameter
p = m.nn.Parameter(ones(2), requires_grad=False)
q = pickle.loads(pickle.dumps(p))
out = type(q).__name__, q.requires_grad
> ('Parameter', False)
# pickle keeps strides
x = m.arange(6.).view(2, 3).t()
out = pickle.loads(pickle.dumps(x)).stride()
> (1, 3)
# pickle keeps sharing
x = arange(4.)
a, b = pickle.loads(pickle.dumps([x, x[:2]]))
b.zero_()
out = a
> tensor([0., 1., 2., 3.])
# pickle keeps identity
x = arange(4.)
a, b = pickle.loads(pickle.dumps([x, x]))
out = a is b
> True
# pickle of attributes
x = ones(1)
x.label = 'a'
out = pickle.loads(pickle.dumps(x)).label
> 'a'
# pickle with a hook
x = leaf(1)
x.register_hook(abs)
y = pickle.loads(pickle.dumps(x))
out = y
> UserWarning: backward hook <built-in function abs> on tensor will not be serialized.  If this is expected, you can decorate the function with @gradcore.utils.hooks.unserializable_hook to suppress this warning
> tensor([1.], requires_grad=True)
# deepcopy with a hook
x = leaf(1)
seen = []
x.register_hook(seen.append)
y = copy.deepcopy(x)
y.sum().backward()
out = len(seen)
> 0
# pickle of half
out = pickle.loads(pickle.dumps(ones(2, dtype=m.bfloat16)))
> tensor([1., 1.], dtype=gradcore.bfloat16)
# non-leaf .grad
out = (leaf(1) * 2).grad
> UserWarning: The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead. See github.com/pygradcore/pygradcore/pull/30531 for more information.
> None
# non-leaf .grad, retained
y = leaf(1) * 2
y.retain_grad()
out = y.grad
> None
# non-leaf .grad, detached
out = (leaf(1) * 2).detach().grad
> None
# .grad of a leaf
out = leaf(1).grad
> None
## values
# bool of several
bool(ones(2))
> RuntimeError: Boolean value of Tensor with more than one value is ambiguous
# bool of none
bool(ones(0))
> RuntimeError: Boolean value of Tensor with no values is ambiguous
# bool of one
out = bool(ones(1, 1))
> True
# if
x = ones(2)
if x > 0:
    pass
> RuntimeError: Boolean value of Tensor with more than one value is ambiguous
# and
ones(2) and ones(2)
> RuntimeError: Boolean value of Tensor with more than one value is ambiguous
# not
not ones(2)
> RuntimeError: Boolean value of Tensor with more than one value is ambiguous
# in
out = 1 in ones(2)
> True
# item of several
ones(2).item()
> RuntimeError: a Tensor with 2 elements cannot be converted to Scalar
# item of none
ones(0).item()
> RuntimeError: a Tensor with 0 elements cannot be converted to Scalar
# item of what requires grad
out = leaf(1).item()
> 1.0
# float of several
float(ones(2))
> ValueError: only one element tensors can be converted to Python scalars
# int of several
int(ones(2))
> ValueError: only one element tensors can be converted to Python scalars
# index
[1, 2][ones(1)]
> TypeError: only integer tensors of a single element can be converted to an index
# range
out = list(range(tensor(2)))
> [0, 1]
# complex
out = complex(tensor(2.))
> (2+0j)
# len of a number
len(tensor(2.))
> TypeError: len() of a 0-d tensor
# iteration over a number
list(tensor(2.))
> TypeError: iteration over a 0-d tensor
# tensor of a tensor
x = tensor(leaf(1, 2))
out = x.requires_grad
> UserWarning: To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), rather than gradcore.tensor(sourceTensor).
> False
# tensor of tensors
out = tensor([leaf(1)[0], leaf(2)[0]]).requires_grad
> False
# math of a leaf
out = math.sqrt(leaf(4))
> 2.0
# hash
x = ones(1)
out = hash(x) == hash(x), len({x, x, ones(1)})
> (True, 2)
## attributes of the tape
# version
x = ones(3)
out = x._version, x.add_(1)._version, x[0].add_(1)._version, x._version
> (0, 1, 2, 2)
# version after setitem
x = ones(3)
x[0] = 1
out = x._version
> 1
# version of detach
x = ones(3)
x.detach().add_(1)
out = x._version
> 1
# version of data
x = ones(3)
x.data.add_(1)
out = x._version, x
> (0, tensor([2., 2., 2.]))
# version after setting data
x = ones(3)
x.data = zeros(3)
out = x._version, x
> (0, tensor([0., 0., 0.]))
# version after requires_grad_
out = ones(3).requires_grad_()._version
> 0
# version of a result
out = (leaf(1) * 2).mul_(2)._version
> 1
# version is read-only
ones(1)._version = 3
~ AttributeError
# base
x = ones(2, 3)
v = x[0]
out = v._base is x, x._base, v[0]._base is x, v.clone()._base, v._is_view(), x._is_view()
> (True, None, True, None, True, False)
# base of detach
x = ones(3)
out = x.detach()._base, x.detach()._is_view(), x.data._is_view()
> (None, False, False)
# base of a detached view
x = ones(3)
out = x[:1].detach()._is_view()
> False
# base of view of a leaf
x = leaf(1, 2)
v = x[:1]
out = v._base is x, v.is_leaf, v.requires_grad
> (True, False, True)
# contiguous is no view
x = ones(2, 3)
out = x.contiguous() is x, x.t().contiguous()._is_view()
> (True, False)
# reshape is a view or not
x = ones(2, 3)
out = x.reshape(6)._is_view(), x.t().reshape(6)._is_view()
> (True, False)
# expand_as, T, mT
x = ones(2, 3)
out = x.T._is_view(), x.mT._is_view(), x[:, None]._is_view(), x.expand(2, 2, 3)._is_view()
> (True, True, True, True)
# is_leaf
x = leaf(1)
out = x.is_leaf, (x * 2).is_leaf, ones(1).is_leaf, (ones(1) * 2).is_leaf, (x * 2).detach().is_leaf
> (True, False, True, True, True)
# is_leaf is read-only
ones(1).is_leaf = False
~ AttributeError
# grad_fn is read-only
ones(1).grad_fn = None
~ AttributeError
# grad_fn of a leaf
out = leaf(1).grad_fn
> None
# output_nr of max
x = leaf([1, 2], [3, 4])
v, i = x.max(0)
out = v.output_nr, i.requires_grad, i.grad_fn
> (0, False, None)
# retains_grad
x = leaf(1)
y = x * 2
out = x.retains_grad, y.retains_grad
> (False, False)
# retains_grad is read-only
ones(1).retains_grad = True
~ AttributeError
# data
x = leaf(1, 2)
d = x.data
d[0] = 5
out = x, d.requires_grad, d.is_leaf, x._version, x.is_leaf
> (tensor([5., 2.], requires_grad=True), False, True, 0, True)
# data is not x
x = ones(1)
out = x.data is x, x.data.data_ptr() == x.data_ptr()
> (False, True)
# data set
x = leaf(1, 2)
x.data = zeros(3)
out = x, x.requires_grad
> (tensor([0., 0., 0.], requires_grad=True), True)
# data set keeps the graph
x = leaf(1., 2.)
y = x * 3
x.data = zeros(2)
y.sum().backward()
out = x.grad
> tensor([3., 3.])
# data set to another dtype
x = leaf(1, 2)
x.data = zeros(2, dtype=m.float64)
out = x
> tensor([0., 0.], dtype=gradcore.float64, requires_grad=True)
# data set to integers
x = leaf(1, 2)
x.data = zeros(2, dtype=m.int64)
> RuntimeError: data set to a tensor that requires gradients must be floating point or complex dtype
# data set to a number
ones(1).data = 3
> TypeError: Variable data has to be a tensor, but got int
# data set to None
ones(1).data = None
> TypeError: Variable data has to be a tensor, but got NoneType
# data deleted
x = ones(1)
del x.data
> RuntimeError: Deleting tensor data is not allowed. Delete tensor instead!
# data set shares memory
x, z = leaf(1, 2), zeros(2)
x.data = z
z[0] = 7
out = x
> tensor([7., 0.], requires_grad=True)
# data of a result
x = leaf(1., 2.)
y = x * 2
y.data.zero_()
y.sum().backward()
out = y, x.grad
> (tensor([0., 0.], grad_fn=<MulBackward0>), tensor([2., 2.]))
# detach_ of a result
y = leaf(1) * 2
z = y.detach_()
out = z is y, y.requires_grad, y.is_leaf, y.grad_fn
> (True, False, True, None)
# detach_ of a view
x = leaf(1, 2) * 1
x[:1].detach_()
> RuntimeError: Can't detach views in-place. Use detach() instead.
# detach_ of a view without grad
x = ones(2)
out = x[:1].detach_().requires_grad
> RuntimeError: Can't detach views in-place. Use detach() instead.
# detach_ of a view of a leaf
leaf(1, 2)[:1].detach_()
> RuntimeError: Can't detach views in-place. Use detach() instead.
# detach_ of a multi-output view
x = leaf(1, 2) * 1
x.split(1)[0].detach_()
> RuntimeError: Can't detach views in-place. Use detach() instead.
# detach shares memory
x = leaf(1, 2)
d = x.detach()
d[0] = 9
out = x, x._version, d.requires_grad
> (tensor([9., 2.], requires_grad=True), 1, False)
# set_
x = ones(2)
x.set_(zeros(3))
out = x
> tensor([0., 0., 0.])
# requires_grad_ of a detached view
x = leaf(1, 2) * 1
v = x.detach()[:1].requires_grad_()
out = v.is_leaf, v.requires_grad
> (True, True)
# requires_grad_ of a view
x = ones(2)
v = x[:1].requires_grad_()
out = v.is_leaf, x.requires_grad
> (True, False)
# backward keywords
x = leaf(1)
(x * 2).sum().backward(gradient=None, retain_graph=True, create_graph=False)
out = x.grad
> tensor([2.])
# backward: unknown keyword
leaf(1).sum().backward(retain=True)
> TypeError: Tensor.backward() got an unexpected keyword argument 'retain'
# accumulate
x = leaf(1)
(x * 2).sum().backward()
g = x.grad
(x * 2).sum().backward()
out = x.grad, g is x.grad
> (tensor([4.]), True)
# zero_grad by set to None
p = m.nn.Parameter(ones(1))
p.sum().backward()
o = m.optim.SGD([p], lr=0.1)
o.zero_grad()
out = p.grad
> None
# optimizer of a result
m.optim.SGD([leaf(1) * 2], lr=0.1)
> ValueError: can't optimize a non-leaf Tensor
# optimizer of nothing
m.optim.SGD([], lr=0.1)
> ValueError: optimizer got an empty parameter list
# optimizer of a tensor
m.optim.SGD(ones(1), lr=0.1)
> TypeError: params argument given to the optimizer should be an iterable of Tensors or dicts, but got gradcore.FloatTensor
# module attribute
l = m.nn.Linear(1, 1)
l.weight = ones(1, 1)
> TypeError: cannot assign 'gradcore.FloatTensor' as parameter 'weight' (gradcore.nn.Parameter or None expected)
# register_parameter of a result
l = m.nn.Linear(1, 1)
l.register_parameter('w', leaf(1) * 2)
> TypeError: cannot assign 'gradcore.FloatTensor' object to parameter 'w' (gradcore.nn.Parameter or None required)
# anomaly
with m.autograd.detect_anomaly(), warnings.catch_warnings():
    warnings.simplefilter('ignore')
    (leaf(0.).sqrt() * 0).sum().backward()
> UserWarning: Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for debugging.
> RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
## inference mode
# inference tensor saved
with m.inference_mode():
    x = ones(1)
leaf(1) * x
> RuntimeError: Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use `gradcore.no_grad()` instead of `gradcore.inference_mode()`.
# inference tensor changed
with m.inference_mode():
    x = ones(1)
x.add_(1)
> RuntimeError: Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal tensor before doing inplace update.See https://github.com/pygradcore/rfcs/pull/17 for more details.
# inference tensor requires grad
with m.inference_mode():
    x = ones(1)
x.requires_grad_()
> RuntimeError: Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.
# inference tensor version
with m.inference_mode():
    x = ones(1)
x._version
> RuntimeError: Inference tensors do not track version counter.
## forward mode
# dual without a level
m.autograd.forward_ad.make_dual(ones(1), ones(1))
> RuntimeError: Trying to create a dual Tensor for forward AD but no level exists, make sure to enter_dual_level() first.
# unpacked without a level
out = m.autograd.forward_ad.unpack_dual(ones(1))
> UnpackedDualTensor(primal=tensor([1.]), tangent=None)
# exit without a level
m.autograd.forward_ad.exit_dual_level()
> RuntimeError: Dual level must be a positive number.
# exit of another level
m.autograd.forward_ad.exit_dual_level(level=3)
> RuntimeError: Trying to exit a forward AD level that was not the last one that was created. This is not supported.
# nested levels
with fwd(m):
    m.autograd.forward_ad.enter_dual_level()
> RuntimeError: Nested forward mode AD is not supported at the moment
# dual of integers
with fwd(m) as fw:
    fw.make_dual(tensor([1]), ones(1))
> ValueError: Expected primal to be floating point or complex, but got: gradcore.int64
# tangent of integers
with fwd(m) as fw:
    fw.make_dual(ones(1), tensor([1]))
> ValueError: Expected tangent to be floating point or complex, but got: gradcore.int64
# tangent of another shape
with fwd(m) as fw:
    fw.make_dual(ones(3), ones(4))
> RuntimeError: Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. Tensor is of size [3] while the given forward gradient is of size [4].
# dual of a dual
with fwd(m) as fw:
    fw.make_dual(fw.make_dual(ones(1), ones(1)), ones(1))
> RuntimeError: Making a dual Tensor based on a Tensor that already has a forward gradient at the same level 0 is not supported.
# tangent that is a dual
with fwd(m) as fw:
    fw.make_dual(ones(1), fw.make_dual(ones(1), ones(1)))
> RuntimeError: Setting a forward grad that itself has a forward gradient at the same level0 is not supported.
# level that is not there
with fwd(m) as fw:
    fw.make_dual(ones(1), ones(1), level=1)
> RuntimeError: Invalid level given to _make_dual: there is one level, 0
# dual printed
with fwd(m) as fw:
    d = fw.make_dual(leaf(1, 2), ones(2))
    out = shown(d), shown(d[0]), shown(d.detach()), shown(fw.make_dual(ones(1), ones(1)))
> ('tensor([1., 2.], grad_fn=<ViewBackward0>, tangent=tensor([1., 1.]))', 'tensor(1., grad_fn=<SelectBackward0>, tangent=1.0)', 'tensor([1., 2.])', 'tensor([1.], tangent=tensor([1.]))')
# dual: attributes
with fwd(m) as fw:
    x = leaf(1, 2)
    d = fw.make_dual(x, ones(2))
    p = fw.unpack_dual(d).primal
    out = d.requires_grad, d.is_leaf, d._is_view(), d._base is x, p is x, p._is_view(), p.requires_grad
> (True, False, True, True, False, True, True)
# dual after its level
with fwd(m) as fw:
    d = fw.make_dual(ones(1), ones(1))
with fwd(m) as fw:
    out = d, fw.unpack_dual(d).tangent
> (tensor([1.]), None)
# dual and out=
with fwd(m) as fw:
    m.add(fw.make_dual(ones(1), ones(1)), 1, out=ones(1))
> NotImplementedError: Trying to use forward AD with add_out that does not support it because it is an out= function
# dual under no_grad, inference_mode
with fwd(m) as fw:
    d = fw.make_dual(ones(1), ones(1))
    with m.no_grad():
        a = d * 2
    with m.inference_mode():
        b = d * 2
    out = shown(a), shown(b)
> ('tensor([2.], tangent=tensor([2.]))', 'tensor([2.])')
# .grad of a dual
with fwd(m) as fw:
    x = leaf(1, 2)
    (fw.make_dual(x, ones(2)) ** 2).sum().backward()
    out = shown(x.grad)
> 'tensor([2., 4.])'
# Function without jvp
with fwd(m) as fw:
    F(lambda ctx, x: x * 2, None)(fw.make_dual(ones(1), ones(1)))
> NotImplementedError: You must implement the jvp function for custom autograd.Function to use it with forward mode AD.
# Function without jvp, without tangents
with fwd(m) as fw:
    out = F(lambda ctx, x: x * 2, None)(ones(1))
> tensor([2.])
# jvp: number of tangents
with fwd(m) as fw:
    J(lambda ctx, x: x * 2, lambda ctx, t: (t, t))(fw.make_dual(ones(1), ones(1)))
> RuntimeError: Function's jvp returned an invalid number of forward gradients (expected 1 but got 2)
# jvp: type
with fwd(m) as fw:
    J(lambda ctx, x: x * 2, lambda ctx, t: 3)(fw.make_dual(ones(1), ones(1)))
> RuntimeError: expected Variable or None (got int) for grad output 0.
# jvp: shape
with fwd(m) as fw:
    J(lambda ctx, x: x * 2, lambda ctx, t: t[:1])(fw.make_dual(ones(2), ones(2)))
> RuntimeError: Trying to set a forward gradient that has a different size than that of the original Tensor, this is not supported. Tensor is of size [2] while the given forward gradient is of size [1].
# jvp: not in place
with fwd(m) as fw:
    J(lambda ctx, x: (ctx.mark_dirty(x), x.mul_(2))[1], lambda ctx, t: t * 2)(fw.make_dual(ones(2), ones(2)))
> RuntimeError: An inplace custom Function is not modifying the forward mode gradients inplace. If the forward is modifying an input inplace, then the jvp function must modify the corresponding gradient inplace.
# jvp: in place
with fwd(m) as fw:
    out = shown(J(lambda ctx, x: (ctx.mark_dirty(x), x.mul_(2))[1], lambda ctx, t: t.mul_(2))(fw.make_dual(ones(2), ones(2))))
> 'tensor([2., 2.], tangent=tensor([2., 2.]))'
# jvp: no view
with fwd(m) as fw:
    J(lambda ctx, x: x.view(1, 2), lambda ctx, t: t.view(1, 2).clone())(fw.make_dual(ones(2), ones(2)))
> RuntimeError: A custom Function's forward is returning a view (or an input as-is) but the jvp is not returning a view.
# jvp: what it is given
with fwd(m) as fw:
    seen = []
    d = fw.make_dual(ones(1), tensor([3.]))
    f = J(lambda ctx, x, k, y: (ctx.save_for_forward(x), x * k)[1], lambda ctx, *t: (seen.append((t, ctx.saved_tensors, m.is_grad_enabled())), t[0])[1])
    f(d, 2, ones(1))
    f = J(lambda ctx, x, k, y: (ctx.set_materialize_grads(False), x * k)[1], lambda ctx, *t: (seen.append(t), t[0])[1])
    f(d, 2, ones(1))
    seen[0] = (shown(seen[0][0]), shown(seen[0][1]), seen[0][2])
    out = seen
> [('(tensor([3.]), None, tensor([0.]))', '(tensor([1.], tangent=tensor([3.])),)', True), (tensor([3.]), None, None)]
# jvp: saved for forward, no tensor
F(lambda ctx, x: ctx.save_for_forward(3), None)(leaf(1))
> AssertionError: save_for_forward expects all arguments to be tensors; you should save non-tensors as attributes on ctx.
"""


@dataclass
class Case:
    name: str
    code: str
    expected: list[tuple[str, str]]


def _cases() -> list[Case]:
    cases: list[Case] = []
    for block in re.split(r"^#+ ", CASES, flags=re.M)[1:]:
        name, *lines = block.rstrip().split("\n")
        expected = [(line[0], line[2:]) for line in lines if line[:2] in ("> ", "~ ")]
        if expected:
            cases.append(Case(name, "\n".join(lines[: len(lines) - len(expected)]), expected))
    return cases


def function(m: Any, forward: Callable[..., Any], backward: Callable[..., Any] | None) -> Callable[..., Any]:
    methods = {"forward": staticmethod(forward)} | ({} if backward is None else {"backward": staticmethod(backward)})
    return type("F", (m.autograd.Function,), methods).apply  # type: ignore[no-any-return]


def with_jvp(m: Any, forward: Callable[..., Any], jvp: Callable[..., Any]) -> Callable[..., Any]:
    methods = {"forward": staticmethod(forward), "jvp": staticmethod(jvp)}
    return type("F", (m.autograd.Function,), methods).apply  # type: ignore[no-any-return]


@contextmanager
def fwd(m: Any) -> Iterator[Any]:
    """A level of forward mode."""
    with m.autograd.forward_ad.dual_level():
        yield m.autograd.forward_ad


def shown(x: Any) -> str:
    """The text of `x`, on one line."""
    return re.sub(r"\s+", " ", _plain(repr(x)))


def hook(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def my_hook(g: Any) -> Any:
        return change(g)

    return my_hook


def saving_output(ctx: Any, x: Any) -> Any:
    y = x * 2
    ctx.save_for_backward(y)
    return y


def non_diff(ctx: Any, x: Any) -> Any:
    y = x * 2
    ctx.mark_non_differentiable(y)
    return y


NAMES = {
    f.__name__: f for f in (copy, math, pickle, warnings, hook, saving_output, non_diff, fwd, shown)
} | {"np": np}  # fmt: skip


# What PyTorch says once in a process, or of itself.
ONCE = ("Converting a tensor with requires_grad=True to a scalar", "jit.script")


def outcome(m: Any, device: str, code: str) -> list[str]:
    """What code comes to, in lines: warnings, and an error or a value; names as gradcore's, on the CPU."""
    names = {name: partial(getattr(m, name), device=device) for name in ("arange", "empty", "ones", "tensor", "zeros")}
    scope: dict[str, Any] = {
        **NAMES,
        **names,
        "m": m,
        "F": partial(function, m),
        "J": partial(with_jvp, m),
        "leaf": lambda *values: m.tensor(values, dtype=m.float32, device=device, requires_grad=True),
        "leaf64": lambda *values: m.tensor(values, dtype=m.float64, device=device, requires_grad=True),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exec(code, scope)
            result = repr(scope["out"]) if "out" in scope else "nothing"
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
    lines = [f"{w.category.__name__}: {w.message}" for w in caught]
    lines = [line for line in lines if not any(text in line for text in ONCE)]
    return [_plain(line) for line in (*lines, result)]


def _plain(line: str) -> str:
    line = line.replace("torch", "gradcore").replace(", device='cuda:0'", "").replace("gradcore.cuda.", "gradcore.")
    return re.sub(r" \(Triggered internally at .*", "", line)


def _continues(a: str, b: str) -> bool:
    return a.startswith(b) or b.startswith(a)


@pytest.mark.parametrize("case", _cases(), ids=lambda case: case.name)
def test_message(case: Case, device: str) -> None:
    if device != "cpu" and re.search(r"\bnp\.|numpy\(", case.code):
        pytest.skip("NumPy arrays are on the CPU")
    ours = outcome(gc, device, case.code)
    assert len(ours) == len(case.expected), f"{ours}"
    for line, (kind, text) in zip(ours, case.expected):
        assert line == text if kind == ">" else line.startswith(text), f"{line!r}, expected {text!r}"
    if torch is None or device != "cpu":
        return
    theirs = outcome(torch, "cpu", case.code)
    assert len(theirs) == len(ours), f"{ours!r}, PyTorch: {theirs!r}"
    for a, b, (kind, _) in zip(ours, theirs, case.expected):
        same = _continues(a, b) if kind == ">" else a.split(":")[0] == b.split(":")[0]
        assert same, f"{a!r}, PyTorch: {b!r}"


def test_gradients_on_another_device_are_refused(device: str) -> None:
    x = gc.ones(3, device=device, requires_grad=True)
    if device != "cpu":
        with pytest.raises(RuntimeError, match=r"located on device 'cpu'.*Please move one with \.to\(\)"):
            x.grad = gc.ones(3)
        with pytest.raises(RuntimeError, match=r"gradient 0 is on cpu but its tensor is on cuda"):
            (x * 2).backward(gc.ones(3))
        with pytest.raises(RuntimeError, match=r"add\(\): Expected out tensor to be on cuda:0, but it is on cpu"):
            gc.add(x.detach(), 1, out=gc.ones(3))
        with pytest.raises(RuntimeError, match=r"Could not set tensor of type Float .* one is on cuda"):
            x.detach().set_(gc.ones(3))
    assert x.grad is None


def test_what_is_refused_changes_nothing(device: str) -> None:
    x, w = gc.ones(2, device=device, requires_grad=True), gc.ones(2, device=device, requires_grad=True)
    (x * w).sum().backward()
    y = x.exp()
    w.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="has changed the size"):
        (y * w).sum().backward()
    assert x.grad.tolist() == [1.0, 1.0] and w.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError):
        x.grad = gc.ones(3, device=device)
    assert x.grad.tolist() == [1.0, 1.0]
    z = x * 2
    for piece, whole in ((z.split(1)[0], z), (x.detach().expand(2, 2), None)):
        with pytest.raises(RuntimeError):
            piece.add_(1)
        assert piece._version == 0 and (whole is None or whole.tolist() == [2.0, 2.0])
    out = gc.zeros(2, dtype=gc.int64, device=device)
    with pytest.raises(RuntimeError, match="can't be cast"):
        gc.add(x.detach(), 1, out=out)
    assert out.tolist() == [0, 0] and out._version == 0


def test_out(device: str) -> None:
    x = gc.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    out = gc.empty(2, 2, dtype=gc.float64, device=device)
    assert gc.exp(x, out=out) is out and out._version == 1
    assert gc.allclose(out, x.exp().double())
    assert gc.sub(x, 1, alpha=2, out=x) is x and x.tolist() == [[-1.0, 0.0], [1.0, 2.0]]
    assert gc.div(x, 2, rounding_mode="floor", out=x).tolist() == [[-1.0, 0.0], [0.0, 1.0]]
    total = gc.empty(0, device=device)
    assert gc.sum(x, 0, out=total) is total and total.tolist() == [-1.0, 1.0]
    with pytest.warns(
        UserWarning, match=r"since it had shape \[2\], which does not match the required output shape \[\]"
    ):
        assert gc.sum(x, out=total).item() == 0.0
    assert gc.cat([x, x], 1, out=gc.empty(0, device=device)).shape == (2, 4)
    assert gc.eq(x, 0, out=gc.empty(2, 2, device=device)).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    row = gc.zeros(2, 2, device=device)
    gc.mm(x, x, out=row.t())  # into a view
    assert gc.equal(row, (x @ x).t())
    with pytest.raises(TypeError, match="argument 'out' must be Tensor, not int"):
        gc.add(x, 1, out=3)


def test_hooks_left_out_of_a_pickle_on_purpose(recwarn: pytest.WarningsRecorder) -> None:
    x = gc.ones(1, requires_grad=True)
    x.register_hook(gc.utils.hooks.unserializable_hook(lambda g: g * 2))
    assert pickle.loads(pickle.dumps(x)).requires_grad and not recwarn.list
