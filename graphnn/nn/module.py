"""The module: something callable that holds parameters, other modules, or both.

Nothing registers itself: whatever hangs on an attribute, also inside lists, tuples and dicts, is
found by walking the object when it is needed. The path walked is the name of a parameter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import numpy as np

from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import name_scope
from graphnn.core.remembered import Remembering
from graphnn.core.state import Parameter
from graphnn.core.state import parameter as make_parameter
from graphnn.core.structure import flatten
from graphnn.core.values import Unmatched, set_values

if TYPE_CHECKING:
    from graphnn.nn.summary import Summary

__all__ = ["Module", "PassingState", "Unmatched"]

MOST_SHOWN = 6
"""Parts listed by a module's repr."""


class _Calling(NamedTuple):
    """The outermost call under way: where its modules hang, and which one is at work."""

    outermost: Module
    paths: Mapping[int, str]
    current: str


@dataclass(frozen=True)
class _Updates:
    """What :meth:`Module.remember` was given; no container, so that it is not walked."""

    values: Mapping[Parameter, Node]


_calling: ContextVar[_Calling | None] = ContextVar("calling", default=None)
_noted: ContextVar[list[tuple[Module, Any]] | None] = ContextVar("noted", default=None)


@contextmanager
def noting_calls() -> Iterator[list[tuple[Module, Any]]]:
    """Within, the modules that are called, each with what it gave, in the order of their ends."""
    calls: list[tuple[Module, Any]] = []
    token = _noted.set(calls)
    try:
        yield calls
    finally:
        _noted.reset(token)


def note_call(module: Module, result: Any) -> None:
    """Note what a module gave, if somebody looks at calls; what is not called itself says it so."""
    noted = _noted.get()
    if noted is not None:
        noted.append((module, result))


class Module:
    """A part of a network. Subclasses set attributes and give ``forward``.

    Calling a module builds nodes; nothing runs. They lie in a name scope of the module's path, and
    the outermost module called names its parameters by their paths. Whether a module is in
    training mode counts at that moment: build one graph for training and one for evaluation; they
    share the parameters.

    Attributes
    ----------
    training : bool
        Set by :meth:`train` and :meth:`eval`.
    passing : tuple of str
        Names of attributes whose parameters belong to a run of programs, such as the state that a
        stateful layer keeps from call to call. They are not saved; see :meth:`reset_state`.

    Examples
    --------
    >>> import graphnn as gn
    >>> class Residual(gn.nn.Module):
    ...     def __init__(self, features):
    ...         self.layers = [gn.nn.Dense(features, features), gn.nn.Tanh()]
    ...     def forward(self, x):
    ...         y = x
    ...         for layer in self.layers:
    ...             y = layer(y)
    ...         return x + y
    >>> block = Residual(8)
    >>> block(gn.input("x", shape=("batch", 8)))
    <Node add (batch, 8) float32>
    >>> [name for name, _ in block.named_parameters()]
    ['layers.0.weight', 'layers.0.bias']
    """

    training: bool = True
    passing: ClassVar[tuple[str, ...]] = ()
    _remembered: _Updates = _Updates({})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Build the module's nodes. Every subclass gives its own."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Build the module's nodes for these inputs."""
        with self._at_work():
            result = self.forward(*args, **kwargs)
        note_call(self, result)
        return result

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """The name scope of the module's path, relative to the module that calls it."""
        outer = _calling.get()
        if outer is None:
            paths = {id(module): path for path, module in self.named_modules()}
            for path, parameter in self._state():
                if parameter.name is None:
                    parameter.named(path)
            token = _calling.set(_Calling(self, paths, ""))
            try:
                yield
            finally:
                _calling.reset(token)
            return
        path = outer.paths.get(id(self), type(self).__name__)
        token = _calling.set(outer._replace(current=path))
        try:
            with name_scope(path.removeprefix(f"{outer.current}.")):
                yield
        finally:
            _calling.reset(token)

    # ------------------------------------------------------------------------ what it consists of

    def _walk(self) -> Iterator[tuple[str, Module | Parameter]]:
        """Modules and parameters with their paths, each once, this module first."""
        seen: set[int] = set()
        pending: list[tuple[str, Any]] = [("", self)]
        while pending:
            path, found = pending.pop()
            if isinstance(found, Module | Parameter):
                if id(found) in seen:
                    continue
                seen.add(id(found))
                yield path, found
            pending += reversed(_below(path, found))

    def _state(self) -> Iterator[tuple[str, Parameter]]:
        for path, found in self._walk():
            if isinstance(found, Parameter):
                yield path, found

    def own_parameters(self) -> list[tuple[str, Parameter]]:
        """All parameters that hang on the module itself, not on modules within, with their names.

        Unlike other listings it has one that hangs in two places twice.
        """
        found: list[tuple[str, Parameter]] = []
        pending = list(reversed(_below("", self)))
        while pending:
            path, held = pending.pop()
            if isinstance(held, Parameter):
                found.append((path, held))
            elif not isinstance(held, Module):
                pending += reversed(_below(path, held))
        return found

    def named_modules(self) -> list[tuple[str, Module]]:
        """Itself, whose path is empty, and all modules within, with their paths."""
        return [(path, found) for path, found in self._walk() if isinstance(found, Module)]

    def named_parameters(self) -> list[tuple[str, Parameter]]:
        """The trainable parameters with their paths, such as ``layers.0.weight``.

        A parameter that hangs in two places is listed once, by its first path.
        """
        return [(path, each) for path, each in self._state() if each.trainable]

    def parameters(self) -> list[Parameter]:
        """The trainable parameters: what an optimizer is given."""
        return [each for _, each in self.named_parameters()]

    def named_buffers(self) -> list[tuple[str, Parameter]]:
        """State that is not trained, such as running means or kept states, with its paths."""
        return [(path, each) for path, each in self._state() if not each.trainable]

    def train(self, mode: bool = True) -> Self:
        """Put this module and all within it in training mode, and return it.

        Graphs that are built already stay as they are.
        """
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Put this module and all within it in evaluation mode, and return it."""
        return self.train(False)

    @contextmanager
    def in_mode(self, training: bool) -> Iterator[None]:
        """Put the module and all within it in one mode, for a while."""
        before = {module: module.training for _, module in self.named_modules()}
        self.train(training)
        try:
            yield
        finally:
            for module, mode in before.items():
                module.training = mode

    def _label(self, word: str) -> str:
        """A word for a node built by this module at work: its path before it if that tells more.

        It does where the outermost module at work holds several modules of this class.
        """
        calling = _calling.get()
        if calling is None or calling.current == "":
            return word
        twins = [each for _, each in calling.outermost.named_modules() if type(each) is type(self)]
        return f"{calling.current}.{word}" if len(twins) > 1 else word

    def summary(self, inputs: Any, *, depth: int | None = None) -> Summary:
        """Every layer with the shape of its output, its parameters, and what they take of memory.

        Parameters
        ----------
        inputs : spec, or tuple, list or dict of specs
            What the model is called with, by position or by name: a :class:`TensorSpec`, a shape
            such as ``("batch", 64)``, an array, or a node for each. Nothing is computed.
        depth : int, optional
            How many layers inside of each other are listed, with the parameters of those within;
            by default all.

        Returns
        -------
        Summary
            A table: as text by ``print``, and in notebooks. Parameters that hang in several places
            are counted once.

        Raises
        ------
        ArgumentError, ShapeError
            If the model cannot be called with these inputs.

        Examples
        --------
        >>> import graphnn as gn
        >>> model = gn.nn.Sequential(gn.nn.Dense(64, 32), gn.nn.ReLU(), gn.nn.Dense(32, 10))
        >>> model.summary(("batch", 64))
        <Summary of Sequential: 4 layers, 2,410 parameters>
        >>> print(str(model.summary((32, 64))).splitlines()[3])
          layers.0  Dense       (32, 32)       2,080          8.12 KiB           4.00 KiB
        """
        from graphnn.nn.summary import summary_of

        return summary_of(self, inputs, depth)

    # --------------------------------------------------------------- state that programs write

    def remember(self, updates: Mapping[Parameter, Node]) -> None:
        """Called in ``forward``: new values of this module's own state, once a program has run.

        See :meth:`state_updates`.
        """
        self._remembered = _Updates(dict(updates))

    def state_updates(self) -> dict[Parameter, Node]:
        """Updates of state that is not trained, such as the last state of a stateful layer.

        They belong to the latest call of every module within, so they go into the program of the
        graph that was just built: ``updates={**optimizer.minimize(...), **model.state_updates()}``.
        A program without them reads the state and leaves it as it is.

        Returns
        -------
        dict of Parameter to Node
            Empty if no module within has state to write.
        """
        found: dict[Parameter, Node] = {}
        for _, module in self.named_modules():
            found.update(module._remembered.values)
        return found

    def reset_state(self) -> None:
        """Let all that belongs to a run begin anew, with zeros, here and in all modules within.

        That is what the modules' ``passing`` names.
        """
        for each in self._passing():
            each.value = np.zeros(each.array.shape)

    def _passing(self) -> set[Parameter]:
        """Parameters that are not saved."""
        return {
            each
            for _, module in self.named_modules()
            for name in module.passing
            for each in flatten(getattr(module, name))
        }

    def passing_state(self) -> PassingState:
        """All that belongs to a run, as a part of checkpoints of its own."""
        return PassingState(self)

    # ------------------------------------------------------------------------------ its values

    def saved(self) -> dict[str, Parameter]:
        """Parameters and buffers whose values :meth:`state_dict` holds, by path."""
        passing = self._passing()
        return {path: each for path, each in self._state() if each not in passing}

    def state_dict(self) -> dict[str, Array]:
        """Copies of all values that are saved, of parameters and buffers, by path.

        States that belong to a run (``passing``) are left out: a model that was trained with
        batches of 32 is loaded into one that is used row by row.
        """
        return {path: each.value for path, each in self.saved().items()}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Set the values of parameters and buffers; all of them, or none if something is wrong.

        Parameters
        ----------
        state : mapping of str to array_like
            As :meth:`state_dict` gives it.
        strict : bool, default True
            Whether every name must be there on both sides.

        Returns
        -------
        Unmatched
            Names that were missing or unexpected; empty if strict.

        Raises
        ------
        CheckpointError
            Lists all names that are missing, unexpected, or of another shape or kind of dtype.
        """
        return set_values(type(self).__name__, self.saved(), state, strict)

    # ---------------------------------------------------------------------------- how it looks

    def extra_repr(self) -> str:
        """What stands between the parentheses of the repr: by default, the modules within."""
        inner = [
            f"{path}={each!r}"
            for name, value in vars(self).items()
            for path, each in (
                [(name, value)] if isinstance(value, Module) else _below(name, value)
            )
            if isinstance(each, Module)
        ]
        return shortened(inner)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Nodes are never copied; a copied module without parameters of its own would surprise.
        for _, each in self._state():
            memo.setdefault(id(each), make_parameter(each.array, trainable=each.trainable))
        copied = object.__new__(type(self))
        memo[id(self)] = copied
        for name, value in vars(self).items():
            if not isinstance(value, _Updates):  # they belong to a graph of the original
                setattr(copied, name, deepcopy(value, memo))
        return copied


class PassingState(Remembering):
    """What a module's ``passing`` names: states that are kept from call to call.

    They are not saved with the module, but a run that is resumed between two calls needs them.
    """

    def __init__(self, module: Module) -> None:
        self.module = module

    def remembered(self) -> dict[str, Parameter]:
        """See :meth:`Remembering.remembered`."""
        passing = self.module._passing()
        return {path: each for path, each in self.module._state() if each in passing}


def _below(path: str, container: Any) -> list[tuple[str, Any]]:
    """What a module or container holds, with paths; nothing for anything else."""
    if isinstance(container, Module):
        items: Iterable[tuple[Any, Any]] = vars(container).items()
    elif isinstance(container, Mapping):
        items = container.items()
    elif isinstance(container, list | tuple):
        items = enumerate(container)
    else:
        return []
    return [(f"{path}.{name}" if path else str(name), part) for name, part in items]


def shortened(parts: Sequence[str]) -> str:
    """Parts of a repr separated by commas; of many, the first few."""
    listed = list(parts[:MOST_SHOWN])
    if len(parts) > MOST_SHOWN:
        listed.append(f"... {len(parts) - MOST_SHOWN} more")
    return ", ".join(listed)
