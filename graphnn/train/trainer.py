"""The trainer: a model, a loss and an optimizer, and the programs made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import signature
from os import PathLike
from typing import Any, Protocol, TypeAlias

import numpy as np

from graphnn.compiler.autocasting import autocast
from graphnn.compiler.compilation import compile as compile_program
from graphnn.compiler.cuda.interchange import from_gpu
from graphnn.compiler.program import Program
from graphnn.core.arguments import require_known
from graphnn.core.dtypes import FLOAT64
from graphnn.core.errors import ArgumentError, DTypeError
from graphnn.core.node import Node
from graphnn.core.state import Parameter
from graphnn.core.text import counted
from graphnn.nn.module import Module
from graphnn.ops.leaves import input as make_input
from graphnn.optim.loss_scale import LossScale
from graphnn.optim.optimizer import Optimizer
from graphnn.train.callbacks import Callback
from graphnn.train.gradients import GradientStatistics, gradient_table
from graphnn.train.history import History
from graphnn.train.loop import Batch, evaluate, fit
from graphnn.train.prediction import predict

__all__ = ["Trainer"]


Spec: TypeAlias = tuple[tuple[int, ...], str]
"""Shape of a sample, and dtype."""


StepGraph: TypeAlias = tuple[list[Node], dict[str, Node], dict[Parameter, Node]]


class Minimizes(Protocol):
    """What a trainer needs of an optimizer."""

    def minimize(
        self, loss: Node, parameters: Iterable[Parameter], *, max_norm: float | None = None
    ) -> dict[Parameter, Node]:
        """The updates of one step."""
        ...

    def gradients(self, loss: Node, parameters: Iterable[Parameter], /) -> Mapping[Parameter, Node]:
        """The gradients that they are made of, for those who watch them."""
        ...


class Trainer:
    """Trains a model on batches ``(*inputs, targets)``, evaluates it and predicts with it.

    It builds graphs of the model's first batch, whose first axis is a named dimension, and
    compiles each when it is first needed: the step in training mode, and in evaluation mode the
    measures and the outputs. What it does is a few lines; write them yourself where you need
    something else (see the tutorial).

    Parameters
    ----------
    model : Module
        Called with all arrays of a batch but the last.
    loss : callable
        From outputs and targets, nodes, to a 0-d node: such as :func:`graphnn.losses.mse`.
    optimizer : Optimizer
        Or what is made around one, such as :class:`graphnn.optim.LossScale`.
    metrics : mapping of str to callable, optional
        What else is measured, like the loss: ``{"accuracy": gn.metrics.accuracy}``.
    max_norm : float, optional
        Gradients that are longer together are made that long.
    precision : {"float32", "bfloat16", "float16"}
        With a half float, :func:`graphnn.autocast` makes the model's graph: parameters, outputs,
        loss and updates stay float32. With "float16" the optimizer gets a
        :class:`graphnn.optim.LossScale` around it, unless it is one.
    **options
        Of :func:`graphnn.compile`, such as ``backend``.

    Attributes
    ----------
    history : History
        Of all calls of :meth:`fit`.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> gn.seed(0)
    >>> x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    >>> model = gn.nn.Sequential(gn.nn.Dense(1, 16), gn.nn.Tanh(), gn.nn.Dense(16, 1))
    >>> trainer = gn.train.Trainer(model, gn.losses.mse, gn.optim.Adam(0.02))
    >>> batches = gn.data.Batches(x, np.sin(3 * x), batch_size=16, shuffle=True, seed=0)
    >>> history = trainer.fit(batches, epochs=200, verbose=0)
    >>> trainer.evaluate(batches)["loss"] < 0.01
    True
    >>> trainer.predict([(x[:2],)]).shape
    (2, 1)
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[[Any, Any], Node],
        optimizer: Minimizes,
        *,
        metrics: Mapping[str, Callable[[Any, Any], Node]] | None = None,
        max_norm: float | None = None,
        precision: str = "float32",
        **options: Any,
    ) -> None:
        require_known("Trainer", "precision", precision, ("float32", "bfloat16", "float16"))
        if isinstance(optimizer, type) or not hasattr(optimizer, "minimize"):
            raise ArgumentError(
                f"Trainer: {optimizer!r} is no optimizer", hint="such as gn.optim.Adam(1e-3)"
            )
        for name, function in {"loss": loss, **(metrics or {})}.items():
            if not callable(function):
                raise ArgumentError(
                    f"Trainer: {name} must be a function of outputs and targets, not {function!r}",
                    hint="such as gn.losses.mse, or gn.metrics.accuracy",
                )
        if precision == "float16" and isinstance(optimizer, Optimizer):
            optimizer = LossScale(optimizer)
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.precision = precision
        self.metrics = dict(metrics or {})
        if "loss" in self.metrics:
            raise ArgumentError("Trainer: 'loss' is measured already; call the metric otherwise")
        compile_program((), (), **options)  # refuses what is no option, before any batch is read
        self.max_norm, self.options = max_norm, options
        self.history = History()
        self._programs: dict[str, Program] = {}
        self._inputs: dict[str, list[Spec]] = {}
        self._made: StepGraph | None = None

    def fit(
        self,
        batches: Iterable[Batch],
        epochs: int = 1,
        *,
        validation: Iterable[Batch] | None = None,
        callbacks: Sequence[Callback] = (),
        resume: str | PathLike[str] | None = None,
        verbose: int = 1,
    ) -> History:
        """Train; see :func:`graphnn.train.fit`. A second call goes on.

        Parameters
        ----------
        batches : iterable of tuple of array
            Gone through once per epoch.
        epochs : int, default 1
            With ``resume`` the number to reach, in all; else how many more.
        validation : iterable of tuple of array, optional
            Evaluated after every epoch, with the prefix ``val_``.
        callbacks : sequence of Callback, optional
        resume : path, optional
            A checkpoint, or the folder of a :class:`Checkpoint`, to go on from bit for bit. The
            model and the batches have to be made as they were then, after the same ``gn.seed``.
        verbose : int, default 1

        Returns
        -------
        History
        """
        return fit(
            self._stepping(callbacks),
            batches,
            epochs,
            validation=None if validation is None else (self._measure, validation),
            history=self.history,
            callbacks=callbacks,
            parts=self._parts(),
            resume=resume,
            verbose=verbose,
        )

    def evaluate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Loss and metrics in evaluation mode, means over all samples."""
        return evaluate(self._measure, batches)

    def predict(self, batches: Iterable[Batch], *, verbose: int = 0) -> Any:
        """The model's outputs in evaluation mode, for batches of inputs alone, joined."""
        return predict(
            lambda *inputs: self._program("outputs", inputs)(*inputs), batches, verbose=verbose
        )

    def _stepping(self, callbacks: Sequence[Callback]) -> Callable[..., Any]:
        """What makes one step; gradients are watched where somebody wants it."""
        watching = [each for each in callbacks if isinstance(each, GradientStatistics)]

        def step(*batch: Any) -> Any:
            due = [each for each in watching if each.is_due]
            if not due:
                return self._program("step", batch)(*batch)
            measured, table = self._program("watched step", batch)(*batch)
            for each in due:
                each.observe([name for name, _ in self.model.named_parameters()], table)
            return measured

        return step

    def _parts(self) -> dict[str, Any]:
        """What a checkpoint holds of it; programs come first, for they make optimizers' slots."""
        return {
            "programs": _Programs(self._inputs, self._build),
            "model": self.model,
            "passing": self.model.passing_state(),
            "optimizer": self.optimizer,
        }

    def _measure(self, *batch: Any) -> dict[str, Any]:
        measured: dict[str, Any] = self._program("measures", batch)(*batch)
        return measured

    def _program(self, kind: str, batch: Batch) -> Program:
        """One of the programs, made of the first batch that it is needed for."""
        if kind not in self._programs:
            self._build(kind, [_spec_of(each) for each in batch])
        return self._programs[kind]

    def _build(self, kind: str, specs: list[Spec]) -> None:
        """Make a program, if it is not there, for arrays like those of one batch."""
        if kind not in self._programs:
            nodes = [
                make_input(f"batch[{number}]", ("batch", *shape), dtype)
                for number, (shape, dtype) in enumerate(specs)
            ]
            self._programs[kind] = getattr(self, f"_{kind.replace(' ', '_')}_program")(nodes)
            self._inputs[kind] = specs

    def _step_program(self, given: list[Node]) -> Program:
        nodes, measures, updates = self._step_graph(given)
        return compile_program(nodes, measures, updates=updates, **self.options)

    def _watched_step_program(self, given: list[Node]) -> Program:
        nodes, measures, updates = self._step_graph(given)
        gradients = self.optimizer.gradients(measures["loss"], self.model.parameters())
        outputs = measures, gradient_table(gradients.values())
        return compile_program(nodes, outputs, updates=updates, **self.options)

    def _step_graph(self, nodes: list[Node]) -> StepGraph:
        """Inputs, measures and updates: those that were made first, for all programs of a step.

        Their nodes are the same ones then, and so are the random numbers that they draw.
        """
        if self._made is None:
            with self.model.in_mode(training=True):
                measures, states = self._measures(nodes)
                updates = self.optimizer.minimize(
                    measures["loss"], self.model.parameters(), max_norm=self.max_norm
                )
            self._made = nodes, measures, {**updates, **states}
        return self._made

    def _measures_program(self, nodes: list[Node]) -> Program:
        with self.model.in_mode(training=False):
            return compile_program(nodes, self._measures(nodes)[0], **self.options)

    def _outputs_program(self, nodes: list[Node]) -> Program:
        with self.model.in_mode(training=False):
            return compile_program(nodes, self._outputs(nodes)[0], **self.options)

    def _measures(self, nodes: list[Node]) -> tuple[dict[str, Node], dict[Parameter, Node]]:
        """What is measured, and updates of running statistics and kept states."""
        if len(nodes) < 2:
            raise ArgumentError(
                f"Trainer: a batch holds inputs and then targets, not {len(nodes)} array",
                hint="gn.data.Batches(x, targets)",
            )
        targets = nodes[-1]
        outputs, states = self._outputs(nodes[:-1])
        measures = {name: metric(outputs, targets) for name, metric in self.metrics.items()}
        return {"loss": self.loss(outputs, targets), **measures}, states

    def _called(self, nodes: list[Node]) -> Any:
        """The model, with as many inputs as it takes, of its dtype."""
        try:
            signature(self.model.forward).bind(*nodes)
        except TypeError as error:
            raise ArgumentError(
                f"Trainer: a batch has {counted(len(nodes), 'input')}, which "
                f"{type(self.model).__name__}.forward does not take: {error}",
                hint="batches are tuples: (*inputs, targets) to train and evaluate, inputs alone "
                "to predict; gn.data.Batches makes them of arrays",
            ) from None
        try:
            return self.model(*nodes)
        except DTypeError as error:
            if not any(each.dtype == FLOAT64 for each in nodes):
                raise
            raise DTypeError(
                error.what,
                hint="NumPy makes float64 arrays, layers have float32 weights: give batches of "
                "x.astype('float32')",
            ) from error

    def _outputs(self, nodes: list[Node]) -> tuple[Any, dict[Parameter, Node]]:
        """The model's outputs and state updates, in its precision."""
        outputs = self._called(nodes)
        states = self.model.state_updates()
        if self.precision == "float32":
            return outputs, states
        outputs, made = autocast((outputs, list(states.values())), self.precision)
        return outputs, dict(zip(states, made, strict=True))


class _Programs:
    """Which programs a trainer has built, in their order, and of what inputs.

    Who goes on builds the same ones in the same order, so that random numbers have their places
    and optimizers their slots.
    """

    def __init__(
        self, inputs: Mapping[str, list[Spec]], build: Callable[[str, list[Spec]], None]
    ) -> None:
        self.inputs, self.build = inputs, build

    def state_dict(self) -> dict[str, Any]:
        return {kind: [list(each) for each in specs] for kind, specs in self.inputs.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for kind, specs in state.items():
            self.build(kind, [(tuple(shape), dtype) for shape, dtype in specs])


def _spec_of(array: Any) -> Spec:
    """An array of a batch, without its samples."""
    on_gpu = from_gpu(array)
    given = np.asarray(array) if on_gpu is None else on_gpu
    if given.ndim == 0:
        raise ArgumentError(
            "Trainer: an array of a batch has an axis of samples first, and one is a number",
            hint="batches are tuples of arrays: gn.data.Batches(x, targets), or [(x, targets)]",
        )
    return given.shape[1:], given.dtype.name
