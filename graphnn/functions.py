"""Functions of arrays that are traced and compiled when they are called: ``@gn.function``."""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Hashable, Mapping, Sequence
from copy import deepcopy
from functools import partial, update_wrapper
from typing import Any, NamedTuple, Self, overload

from graphnn.compiler.compilation import compile
from graphnn.compiler.program import Program
from graphnn.core.errors import ArgumentError, FeedError
from graphnn.core.node import Node, freeze
from graphnn.core.spec import TensorSpec
from graphnn.core.structure import flatten, flatten_like, map_leaves, outline, parts, unflatten
from graphnn.ops.operands import as_node
from graphnn.tracing import (
    TracedGraph,
    bind,
    is_array,
    is_tracing,
    name_of,
    signature_of,
    specs_of,
    trace_call,
)

__all__ = ["Function", "function"]

_OPTIONS = frozenset(
    name
    for name, parameter in inspect.signature(compile).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


class Compiled(NamedTuple):
    """A program, and which of its results are numbers: fed numbers alone went into them."""

    program: Program
    is_number: tuple[bool, ...]


class _Programs:
    """The programs of one function by what they were traced for, and the lock to add one."""

    def __init__(self) -> None:
        self.by_key: dict[Hashable, Compiled] = {}
        self.lock = threading.RLock()


class Function:
    """A function that is compiled for what it is called with; made by :func:`function`.

    Attributes
    ----------
    static_argnames : frozenset of str
        Parameters that are handed on as they are.
    options : dict
        Those of :func:`compile`.
    """

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnames: frozenset[str],
        specs: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> None:
        update_wrapper(self, f, updated=())
        self.__name__ = name_of(f)
        self.__qualname__ = getattr(f, "__qualname__", self.__name__)
        self.static_argnames = static_argnames
        self.options = dict(options)
        self._specs = specs
        self._signature = signature_of(f)
        self._bound: tuple[Any, ...] = ()  # the object, for a method
        self._unbound: Function | None = None
        self._untraced = static_argnames
        self._programs = _Programs()
        self._methods: dict[int, _Programs] = {}

    # ---------------------------------------------------------------------------------- calling

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program for these arguments; while a graph is built, build nodes instead."""
        arguments = self._bind(args, kwargs)
        traced = self._traced(arguments)
        leaves = flatten(traced)
        if is_tracing() or any(isinstance(leaf, Node) for leaf in leaves):
            return self._inlined(arguments)
        specs = self._specs_for(traced)
        if self._specs:
            leaves = self._leaves_like(specs, traced)
        program, is_number = self._compiled(arguments, specs)
        results = program(
            *(
                leaf
                for leaf, spec in zip(leaves, flatten(specs), strict=True)
                if isinstance(spec, TensorSpec)
            )
        )
        if not any(is_number):
            return results
        # As a scalar, not as an array: so it stays weak when it is fed to a function again.
        found = zip(flatten(results), is_number, strict=True)
        return unflatten(results, [each[()] if number else each for each, number in found])

    def trace(self, *args: Any, **kwargs: Any) -> TracedGraph:
        """The graph for these arguments, or specs of them; see :func:`trace`."""
        arguments = self._bind(args, kwargs)
        return self._trace(arguments, self._specs_for(self._traced(arguments)))

    def program(self, *args: Any, **kwargs: Any) -> Program:
        """The program for these arguments, or specs of them; it is compiled if there is none."""
        arguments = self._bind(args, kwargs)
        return self._compiled(arguments, self._specs_for(self._traced(arguments))).program

    def _bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return bind(self.__wrapped__, self._signature, (*self._bound, *args), kwargs)

    def _traced(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that arrays are looked for in."""
        return {name: value for name, value in arguments.items() if name not in self._untraced}

    def _specs_for(self, traced: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with specs in place of arrays: those of the signature, or their own."""
        if not self._specs:
            return specs_of(traced)
        own = specs_of({name: each for name, each in traced.items() if name not in self._specs})
        return {name: self._specs[name] if name in self._specs else own[name] for name in traced}

    def _leaves_like(self, specs: Mapping[str, Any], traced: Mapping[str, Any]) -> list[Any]:
        """What is fed for specs of the signature, where a list may be an array."""
        try:
            return flatten_like(specs, traced)
        except ValueError as error:
            raise FeedError(
                f"{self.__name__} is given {error}", hint="see the signature of the function"
            ) from None

    def _inlined(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function itself, with constants in place of arrays."""
        traced = map_leaves(
            lambda leaf: as_node(leaf) if is_array(leaf) else leaf, self._traced(arguments)
        )
        bound = inspect.BoundArguments(self._signature, {**arguments, **traced})
        return self.__wrapped__(*bound.args, **bound.kwargs)

    def _trace(self, arguments: Mapping[str, Any], specs: Mapping[str, Any]) -> TracedGraph:
        return trace_call(self.__wrapped__, self._signature, {**arguments, **specs}, self._untraced)

    def _compiled(self, arguments: Mapping[str, Any], specs: Mapping[str, Any]) -> Compiled:
        """The program from the cache, or a new one."""
        key = self._key(arguments, specs)
        programs = self._programs
        found = programs.by_key.get(key)
        if found is None:
            with programs.lock:
                found = programs.by_key.get(key)
                if found is None:
                    graph = self._trace(arguments, specs)
                    program = compile(graph.inputs, graph.results, **self.options)
                    is_number = tuple(each.spec.weak for each in graph.outputs)
                    found = programs.by_key[key] = Compiled(program, is_number)
        return found

    def _key(self, arguments: Mapping[str, Any], specs: Mapping[str, Any]) -> Hashable:
        """What a program is looked up by: structure, shapes, dtypes and static values."""
        static = tuple(
            (name, _hashable(name, arguments[name]))
            for name in sorted(self.static_argnames & arguments.keys())
        )
        leaves = tuple(
            (leaf, leaf.weak) if isinstance(leaf, TensorSpec) else freeze(leaf)
            for leaf in flatten(specs)
        )
        return outline(specs), leaves, static

    # ------------------------------------------------------------------------------- inspection

    @property
    def programs(self) -> list[Program]:
        """The programs there are, the oldest first."""
        return [each.program for each in self._programs.by_key.values()]

    @property
    def cache_size(self) -> int:
        """How many programs there are."""
        return len(self._programs.by_key)

    def clear_cache(self) -> None:
        """Forget all programs: the next call traces again, and sees what has changed outside."""
        with self._programs.lock:
            self._programs.by_key.clear()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        # As Python's own functions and methods are copied.
        if self._unbound is None:
            return self
        return self._unbound.__get__(deepcopy(self._bound[0], memo))

    def __reduce__(self) -> Any:
        # By name, as Python's own functions and methods are pickled.
        return (getattr, (self._bound[0], self.__name__)) if self._bound else self.__qualname__

    def __repr__(self) -> str:
        names = ", ".join(list(self._signature.parameters)[len(self._bound) :])
        count = self.cache_size
        return f"<gn.function {self.__name__}({names}): {count} program{'s' * (count != 1)}>"

    # ---------------------------------------------------------------------------------- methods

    def __get__(self, instance: Any, owner: type | None = None) -> Self:
        """The function bound to an object.

        A NamedTuple or dataclass is an argument like others: its arrays are fed. Any other object
        is handed on as it is, and has programs of its own, which end with it.
        """
        if instance is None:
            return self
        method = object.__new__(type(self))
        method.__dict__.update(self.__dict__)
        method._unbound = self
        method._bound = (instance,)
        if parts(instance) is None:
            method._untraced = self._untraced | {next(iter(self._signature.parameters))}
            method._programs = self._programs_of(instance)
        return method

    def _programs_of(self, instance: Any) -> _Programs:
        with self._programs.lock:
            # By identity: an object with an == of its own need not be hashable.
            known = self._methods.get(id(instance))
            if known is None:
                try:
                    end = weakref.finalize(instance, self._methods.pop, id(instance), None)
                except TypeError:
                    raise ArgumentError(
                        f"{self.__name__}: a {type(instance).__name__} has __slots__ without "
                        "__weakref__, so its programs could not end with it",
                        hint="add '__weakref__' to its __slots__",
                    ) from None
                end.atexit = False
                known = self._methods[id(instance)] = _Programs()
            return known


def _hashable(name: str, value: Any) -> Hashable:
    key = freeze(value)
    try:
        hash(key)
    except TypeError:
        raise ArgumentError(
            f"the static argument {name} is a {type(value).__name__}, which cannot be hashed",
            hint="give a tuple instead of a list; arrays are no static arguments",
        ) from None
    return key


@overload
def function(
    f: Callable[..., Any],
    /,
    *,
    static_argnames: str | Sequence[str] = (),
    signature: Any = None,
    **options: Any,
) -> Function: ...


@overload
def function(
    *, static_argnames: str | Sequence[str] = (), signature: Any = None, **options: Any
) -> Callable[[Callable[..., Any]], Function]: ...


def function(
    f: Callable[..., Any] | None = None,
    /,
    *,
    static_argnames: str | Sequence[str] = (),
    signature: Any = None,
    **options: Any,
) -> Any:
    """Make a Python function of arrays into a compiled one; a decorator, with or without options.

    At the first call with arguments of some structure, shapes and dtypes the function runs once
    with symbols in their place (it is *traced*), and what it computed is compiled; further calls
    of that kind only run the program. Called with nodes, it builds its nodes.

    Parameters
    ----------
    f : callable
        It should be pure: it computes results from its arguments and from parameters, whose
        current values are read at every call. Everything else that it looks at is seen once,
        when it is traced.
    static_argnames : str or sequence of str
        Parameters that are no arrays, such as an axis or a length: hashable, handed on as they
        are, and compiled for each value.
    signature : mapping of str to spec, or sequence of spec, optional
        For these parameters (or the first ones) a :class:`TensorSpec`, or a structure of them:
        what is fed must fit, and one graph serves all sizes of named dimensions.
    **options
        Those of :func:`compile`: ``backend``, ``optimize``, ``debug`` and so on.

    Returns
    -------
    Function
        To be called with NumPy arrays, other arrays on the host, and Python numbers, in dicts,
        lists, tuples, NamedTuples and dataclasses; it returns arrays in the function's own
        structure. An int or float is fed like an array, but takes the dtype of what it meets; a
        bool or string is static.

    Raises
    ------
    ArgumentError
        If there is no such parameter or option; when it is called, if an argument or a result is
        nothing that an array can stand for.

    Examples
    --------
    >>> import numpy as np
    >>> import graphnn as gn
    >>> @gn.function
    ... def step(w, x, lr):
    ...     loss = gn.sum((x @ w) ** 2)
    ...     return w - lr * gn.grad(loss, w), loss
    >>> w, loss = step(np.ones(2, "float32"), np.eye(2, dtype="float32"), 0.1)
    >>> w, loss
    (array([0.8, 0.8], dtype=float32), array(2., dtype=float32))
    >>> w, loss = step(w, np.eye(2, dtype="float32"), 0.01)
    >>> step
    <gn.function step(w, x, lr): 1 program>
    """
    if f is None:
        return partial(function, static_argnames=static_argnames, signature=signature, **options)
    if isinstance(f, staticmethod | classmethod):
        raise ArgumentError(
            f"gn.function makes functions compiled, not a {type(f).__name__}",
            hint=f"write @{type(f).__name__} above @gn.function",
        )
    if not callable(f):
        raise ArgumentError(f"gn.function makes functions compiled, but {f!r} is none")
    static = frozenset([static_argnames] if isinstance(static_argnames, str) else static_argnames)
    parameters = list(signature_of(f).parameters)
    specs = _by_parameter(f, parameters, signature)
    for word, given, known in (
        ("parameter", [*static, *specs], parameters),
        ("option", options, _OPTIONS),
    ):
        for name in given:
            if name not in known:
                raise ArgumentError(
                    f"gn.function: {name_of(f)} has no {word} {name!r}",
                    hint=f"there are {', '.join(sorted(known))}",
                )
    return Function(f, static, specs_of(specs), options)


def _by_parameter(f: Callable[..., Any], parameters: Sequence[str], given: Any) -> dict[str, Any]:
    """The specs of a signature by parameter."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    listed = given if isinstance(given, list | tuple) else [given]
    if len(listed) > len(parameters):
        raise ArgumentError(
            f"gn.function: {len(listed)} specs for the {len(parameters)} parameters of {name_of(f)}"
        )
    return dict(zip(parameters, listed, strict=False))
