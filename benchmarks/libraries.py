"""How each library runs a case: prepared once, then called again and again.

Every function here imports its library by itself: a worker process holds only one of them.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from cases.case import Arrays, Case

__all__ = ["LIBRARIES", "Library", "Prepared"]


@dataclass(frozen=True)
class Prepared:
    """A case that is ready to run.

    Attributes
    ----------
    run : callable
        Runs once and returns when all results are there.
    arrays : callable
        From what `run` returned, and the library's parameters, to named results.
    planned_bytes : int
        Peak of working memory that the library announced, 0 if it does not.
    """

    run: Callable[[], Any]
    arrays: Callable[[Any], Arrays]
    planned_bytes: int = 0


@dataclass(frozen=True)
class Library:
    """One column of the table.

    Attributes
    ----------
    title : str
    module : str
        What must be installed.
    functions : str
        Which of a case's functions it runs.
    prepare : callable
    set_threads : callable, optional
        Where the environment and the affinity mask do not say it all.
    """

    title: str
    module: str
    functions: str
    prepare: Callable[[Case, Arrays, Arrays], Prepared]
    set_threads: Callable[[int], None] = lambda n: None

    def version(self) -> str:
        return importlib.metadata.version(self.module)


def named(value: Any) -> Arrays:
    """The result of a case that gives no gradients."""
    return {"result": np.asarray(value)}


def with_gradients(loss: Any, gradients: Mapping[str, Any]) -> Arrays:
    """Loss and gradients as arrays."""
    return {"loss": np.asarray(loss)} | {
        f"gradient of {name}": np.asarray(each) for name, each in gradients.items()
    }


def after_step(case: Case, loss: Any, before: Arrays, after: Mapping[str, Any]) -> Arrays:
    """What a step of gradient descent did, as loss and gradients."""
    gradients = {
        name: (before[name].astype(np.float64) - np.asarray(after[name], np.float64))
        / case.learning_rate
        for name in before
    }
    return with_gradients(loss, gradients)


# ------------------------------------------------------------------------------------- graphnn


def prepare_graphnn(case: Case, parameters: Arrays, data: Arrays) -> Prepared:
    import graphnn as gn

    function = case.functions["graphnn"]()
    inputs = {name: gn.input(name, each.shape, each.dtype) for name, each in data.items()}
    if case.mode == "step":
        weights = {name: gn.parameter(each, name) for name, each in parameters.items()}
        loss = function(weights, inputs)
        updates = gn.optim.SGD(case.learning_rate).minimize(loss, list(weights.values()))
        program = gn.compile(list(inputs.values()), loss, updates)

        def stepped(value: Any) -> Arrays:
            after = {name: each.value for name, each in weights.items()}
            return after_step(case, value, parameters, after)

        return Prepared(partial(program, *data.values()), stepped, program.arena_nbytes)
    weights = {name: gn.input(name, each.shape, each.dtype) for name, each in parameters.items()}
    result = function(weights, inputs)
    outputs = (result, gn.grad(result, weights)) if case.mode == "gradient" else result
    program = gn.compile([*weights.values(), *inputs.values()], outputs)
    run = partial(program, *parameters.values(), *data.values())
    arrays = named if case.mode == "value" else lambda both: with_gradients(*both)
    return Prepared(run, arrays, program.arena_nbytes)


# ------------------------------------------------------------------------------------- PyTorch


def prepare_torch(case: Case, parameters: Arrays, data: Arrays, *, is_compiled: bool) -> Prepared:
    import torch

    def tensor(name: str, array: np.ndarray) -> torch.Tensor:
        turned = array.T if name in case.transposed else array
        return torch.tensor(np.ascontiguousarray(turned))

    def array(name: str, value: torch.Tensor) -> np.ndarray:
        plain = value.detach().numpy()
        return plain.T if name in case.transposed else plain

    function = case.functions["torch"]()
    if is_compiled:
        function = torch.compile(function)
    d = {name: tensor(name, each) for name, each in data.items()}
    if case.mode == "value":
        return Prepared(lambda: function({}, d), lambda y: named(y.numpy()))
    p = {name: tensor(name, each).requires_grad_() for name, each in parameters.items()}
    optimizer = torch.optim.SGD(p.values(), case.learning_rate, foreach=True)

    def run() -> Any:
        optimizer.zero_grad()
        loss = function(p, d)
        loss.backward()
        if case.mode == "step":
            optimizer.step()
        return loss

    def arrays(loss: Any) -> Arrays:
        if case.mode == "step":
            after = {name: array(name, each) for name, each in p.items()}
            return after_step(case, loss.detach(), parameters, after)
        gradients = {name: array(name, each.grad) for name, each in p.items()}
        return with_gradients(loss.detach(), gradients)

    return Prepared(run, arrays)


def set_torch_threads(n: int) -> None:
    import torch

    torch.set_num_threads(n)


# ----------------------------------------------------------------------------------------- JAX


def prepare_jax(case: Case, parameters: Arrays, data: Arrays, *, functions: str) -> Prepared:
    import jax
    import jax.numpy as jnp

    function = case.functions[functions]()
    p, d = (jax.tree.map(jnp.asarray, each) for each in (parameters, data))
    if case.mode == "value":
        result = jax.jit(function)
        return Prepared(lambda: jax.block_until_ready(result(p, d)), named)
    value_and_grad = jax.value_and_grad(function)
    if case.mode == "gradient":
        both = jax.jit(value_and_grad)
        return Prepared(
            lambda: jax.block_until_ready(both(p, d)), lambda value: with_gradients(*value)
        )

    @partial(jax.jit, donate_argnums=0)
    def step(p: Any, d: Any) -> Any:
        loss, gradients = value_and_grad(p, d)
        return jax.tree.map(lambda w, g: w - case.learning_rate * g, p, gradients), loss

    state = {"p": p}

    def run() -> Any:
        state["p"], loss = jax.block_until_ready(step(state["p"], d))
        return loss

    return Prepared(run, lambda loss: after_step(case, loss, parameters, state["p"]))


# ------------------------------------------------------------------------------------ PyTensor


def prepare_pytensor(case: Case, parameters: Arrays, data: Arrays) -> Prepared:
    import pytensor
    import pytensor.tensor as pt

    function = case.functions["pytensor"]()
    inputs = {
        name: pt.tensor(name, dtype=each.dtype, shape=each.shape) for name, each in data.items()
    }
    if case.mode == "value":
        program = pytensor.function(list(inputs.values()), function({}, inputs))
        return Prepared(partial(program, *data.values()), named)
    if case.mode == "step":
        weights = {name: pytensor.shared(each.copy(), name) for name, each in parameters.items()}
        loss = function(weights, inputs)
        gradients = pt.grad(loss, list(weights.values()))
        rate = np.float32(case.learning_rate)
        updates = [(w, w - rate * g) for w, g in zip(weights.values(), gradients, strict=True)]
        program = pytensor.function(list(inputs.values()), loss, updates=updates)

        def stepped(value: Any) -> Arrays:
            after = {name: each.get_value() for name, each in weights.items()}
            return after_step(case, value, parameters, after)

        return Prepared(partial(program, *data.values()), stepped)
    weights = {
        name: pt.tensor(name, dtype=each.dtype, shape=each.shape)
        for name, each in parameters.items()
    }
    loss = function(weights, inputs)
    outputs = [loss, *pt.grad(loss, list(weights.values()))]
    program = pytensor.function([*weights.values(), *inputs.values()], outputs)

    def arrays(values: Any) -> Arrays:
        return with_gradients(values[0], dict(zip(weights, values[1:], strict=True)))

    return Prepared(partial(program, *parameters.values(), *data.values()), arrays)


# -------------------------------------------------------------------------- autograd and NumPy


def prepare_autograd(case: Case, parameters: Arrays, data: Arrays) -> Prepared:
    import autograd

    function = case.functions["autograd"]()
    both = autograd.value_and_grad(lambda p: function(p, data))
    return Prepared(lambda: both(parameters), lambda value: with_gradients(*value))


def prepare_numpy(case: Case, parameters: Arrays, data: Arrays) -> Prepared:
    function = case.functions["numpy"]()
    return Prepared(lambda: function(parameters, data), named)


LIBRARIES = {
    "graphnn": Library("graphnn", "graphnn", "graphnn", prepare_graphnn),
    "torch": Library(
        "PyTorch eager",
        "torch",
        "torch",
        partial(prepare_torch, is_compiled=False),
        set_torch_threads,
    ),
    "torch.compile": Library(
        "torch.compile",
        "torch",
        "torch",
        partial(prepare_torch, is_compiled=True),
        set_torch_threads,
    ),
    "jax": Library("JAX jit", "jax", "jax", partial(prepare_jax, functions="jax")),
    "jax.checkpoint": Library(
        "JAX checkpoint", "jax", "jax.checkpoint", partial(prepare_jax, functions="jax.checkpoint")
    ),
    "pytensor": Library("PyTensor", "pytensor", "pytensor", prepare_pytensor),
    "autograd": Library("autograd", "autograd", "autograd", prepare_autograd),
    "numpy": Library("NumPy", "numpy", "numpy", prepare_numpy),
}
