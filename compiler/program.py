"""The program: what compiling a graph gives, and how it is called."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

from graphnn.compiler.backends import ADOPTERS, BACKENDS
from graphnn.compiler.driver import Report
from graphnn.compiler.explanation import explain_decisions, explain_fusion
from graphnn.compiler.feeds import Inputs
from graphnn.compiler.memory_report import MemoryReport
from graphnn.compiler.profile_report import Profile, Profiled, measure
from graphnn.compiler.source import source
from graphnn.compiler.specialization import Specialization, specialize
from graphnn.compiler.unit import Branch, Instruction, Loop, Options, Unit
from graphnn.core.arguments import require_known
from graphnn.core.errors import ArgumentError, FeedError, ShapeError
from graphnn.core.graph import Graph
from graphnn.core.node import Node
from graphnn.core.op import Array
from graphnn.core.provenance import provenance
from graphnn.core.state import Parameter
from graphnn.core.structure import unflatten

__all__ = ["Program"]


class Program:
    """A compiled graph: call it with arrays, get arrays.

    Made by :func:`compile`. Calls from several threads take turns.

    Attributes
    ----------
    graph : Graph
        What was compiled, before any pass: results, then new values of the updated parameters.
    outputs
        The structure of nodes that results come in.
    updates : mapping of Parameter to Node
    options : Options
    """

    def __init__(
        self, graph: Graph, outputs: Any, updates: Mapping[Parameter, Node], options: Options
    ) -> None:
        self.graph = graph
        self.outputs = outputs
        self.updates = dict(updates)
        self.options = options
        self._arranged = _arrangement(outputs)
        self._inputs = Inputs(graph.inputs, ADOPTERS.get(options.backend))
        self._specialized: dict[tuple[tuple[str, int], ...], Specialization] = {}
        self._types: set[type] = set()
        self._lock = threading.RLock()
        _PROGRAMS.add(self)
        self._latest: Specialization | None = None
        if all(node.tensor.is_known for node in graph.inputs):
            self.specialize({})

    @property
    def inputs(self) -> tuple[Node, ...]:
        """What is fed, in order."""
        return self.graph.inputs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run once.

        Parameters
        ----------
        *args : array_like
            Feeds in the order of the inputs.
        **kwargs : array_like
            Feeds by name.

        Returns
        -------
        same structure as ``outputs``
            New NumPy arrays; with ``backend="cupy"`` CuPy arrays, which stay on the GPU.

        Raises
        ------
        FeedError
            If a feed is missing, extra, or of the wrong rank, shape or dtype.
        """
        chosen = self._latest
        if chosen is not None and not kwargs and chosen.takes(args, self._types):
            with self._lock:
                results = chosen.executable.run(args)
            return self._arranged(results)
        arrays = self._inputs.take(args, kwargs)
        self._types.update(map(type, arrays))
        with self._lock:
            results = self._choose(arrays).executable.run(arrays)
        return self._arranged(results)

    def to(self, backend: str) -> Program:
        """The same program for another backend.

        State moves by itself: each program that runs finds it where the last one has left it.

        Parameters
        ----------
        backend : {"numpy", "cupy", "reference"}

        Returns
        -------
        Program
            This one, if it is for that backend.

        Raises
        ------
        ArgumentError
            If there is no such backend.

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(2,))
        >>> f = gn.compile(x, gn.exp(x), backend="numpy")
        >>> f.to("reference").options.backend
        'reference'
        """
        require_known("to", "backend", backend, BACKENDS)
        if backend == self.options.backend:
            return self
        options = replace(self.options, backend=backend)
        return Program(self.graph, self.outputs, self.updates, options)

    def _choose(self, arrays: Sequence[Array]) -> Specialization:
        """The program for feeds of these sizes."""
        return self.specialize(self._inputs.bind(arrays))

    def specialize(self, sizes: Mapping[str, int]) -> Specialization:
        """Compile for given sizes of the named dimensions; the second time from the cache.

        What the program shows of itself (`source`, `report`, `memory` and so on) is that of these
        sizes from then on. Nothing runs, so that no GPU is needed for programs of one.
        """
        named = self._inputs.dimensions
        if sizes.keys() != named:
            raise FeedError(
                f"the named dimensions are {', '.join(sorted(named)) or 'none'}, "
                f"not {', '.join(map(str, sizes)) or 'none'}",
                where="",
            )
        key = tuple(sorted(sizes.items()))
        with self._lock:
            if key not in self._specialized:
                self._specialized[key] = specialize(
                    self.graph, tuple(self.updates), self.options, sizes
                )
            self._latest = chosen = self._specialized[key]
        return chosen

    # ------------------------------------------------------------------- what it looks like

    @property
    def _shown(self) -> Specialization:
        if self._latest is None:
            names = ", ".join(f"{each!r}: ..." for each in sorted(self._inputs.dimensions))
            raise ShapeError(
                "the program has named dimensions and has not been called yet",
                hint=f"give their sizes, program.specialize({{{names}}}), or call it",
                where="",
            )
        return self._latest

    @property
    def unit(self) -> Unit:
        """The record that all passes made, for the sizes of the latest call."""
        return self._shown.unit

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """What is executed, for the sizes of the latest call."""
        return self._shown.unit.instructions

    @property
    def loops(self) -> tuple[Loop, ...]:
        """Which of the instructions are carried out again and again: steps of scans, rounds."""
        return self._shown.unit.loops

    @property
    def branches(self) -> tuple[Branch, ...]:
        """Which of the instructions are skipped or not, as a flag says: branches of conds."""
        return self._shown.unit.branches

    @property
    def report(self) -> Report:
        """What each pass did, how long it took, and each rewrite with the user's line."""
        return self._shown.report

    @property
    def passes(self) -> Report:
        """The part of `report` that is known before the program is made executable."""
        return self._shown.passes

    def explain(self, node: Node | None = None) -> str:
        """What is computed together by one instruction, and what is not and why.

        Then what passes made of products and scans: which of them became one, which left a
        scan, what stays in it and why, and what is packed once for all steps.

        Parameters
        ----------
        node : Node, optional
            Tell only what concerns this node, and what else was built on its lines.

        Returns
        -------
        str

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(4, 4))
        >>> y = gn.tanh(x)
        >>> print(gn.compile(x, y @ y).explain(y))  # doctest: +ELLIPSIS
           0 kernel: tanh...
        not fused:
          tanh... -> matmul..., because: the product reads it twice
        """
        shown = self._shown
        texts = explain_fusion(shown.unit, node), explain_decisions(shown.passes, shown.unit, node)
        return "\n".join(filter(None, texts))

    def source(self, kind: str = "python") -> str:
        """What the program was compiled to, for the sizes of the latest call.

        Parameters
        ----------
        kind : {"python", "llvm", "asm", "cuda"}
            "python": a module that runs, with one line for every node, in the order and in the
            groups of the instructions. Its function ``program(*feeds, states, constants)`` gives
            a list of results and one of new values; ``states`` are the arrays of
            ``program.unit.states``, and ``constants`` those of ``program.unit.constants``, of
            which the short ones are written out. "llvm": the code of every kernel, as it is
            generated. "asm": the same in assembly of this processor, as it is executed. Operators
            that the host computes have neither. "cuda": the code of every launch of a program for
            ``backend="cupy"``, whether there is a GPU or not, and what has no code.

        Returns
        -------
        str

        Raises
        ------
        ArgumentError
            If there is no such kind, or the program is not for a GPU.

        Examples
        --------
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(3,))
        >>> text = gn.compile(x, gn.tanh(x) + 1.0).source()
        >>> print(text[text.index("    # 0") :])  # doctest: +ELLIPSIS
            # 0 kernel: tanh+add...
            v1 = ops.tanh(x)
            v2 = array(1.0, dtype('float32'))
            ...
        """
        return source(self._shown.unit, kind, self._inputs.names)

    def profile(self, *args: Any, repeat: int = 20, **kwargs: Any) -> Profile:
        """Measure what every instruction takes, beside what the machine allows.

        The program really runs; parameters and other state are put back after every run, and
        are as before in the end. Nothing else may use them in the meantime.

        Parameters
        ----------
        *args, **kwargs : array_like
            Feeds, as in a call.
        repeat : int, default 20
            How many runs to take the median of.

        Returns
        -------
        Profile
            Print it, draw it with ``plot("roofline.svg")``, or take its numbers.

        Raises
        ------
        ArgumentError
            For ``backend="reference"``, which has no instructions, and for less than one run.

        Examples
        --------
        >>> import numpy as np
        >>> import graphnn as gn
        >>> x = gn.input("x", shape=(100, 100))
        >>> f = gn.compile(x, gn.softmax(x @ x))
        >>> profile = f.profile(np.ones((100, 100), "float32"), repeat=3)
        >>> [each.label for each in profile.instructions][0]
        'matmul'
        >>> print(profile)  # doctest: +ELLIPSIS
        one call takes ...
        """
        if repeat < 1:
            raise ArgumentError(f"repeat must be at least 1, not {repeat}", where="")
        arrays = self._inputs.take(args, kwargs)
        with self._lock:
            chosen = self._choose(arrays)
            executable = chosen.executable
            if isinstance(executable, Profiled):
                return measure(chosen.unit, executable, arrays, repeat)
            raise ArgumentError(
                f"instructions cannot be measured with backend={self.options.backend!r}",
                hint='compile with backend="numpy"',
                where="",
            )

    @property
    def arena_nbytes(self) -> int:
        """Bytes of working memory: the peak, for nothing is allocated outside of it."""
        plan = self._shown.unit.plan
        return plan.nbytes if plan is not None else 0

    @property
    def memory(self) -> MemoryReport:
        """What the memory is used for, and what is computed again to save some."""
        return MemoryReport.of(self._shown.unit)

    @property
    def flops(self) -> int:
        """Floating-point operations of one call.

        Those of both branches of every cond, and of one round of every while loop.
        """
        return self._shown.unit.flops

    @property
    def nbytes_moved(self) -> int:
        """Bytes that the instructions of one call read and write; see `flops`."""
        unit = self._shown.unit
        return sum(n * each.nbytes for n, each in zip(unit.runs, unit.instructions, strict=True))

    def __str__(self) -> str:
        if self._latest is None:
            return f"{self!r}\n{self.graph}"
        unit = self._latest.unit
        lines = [repr(self)]
        feeds = zip(self._inputs.names, unit.graph.inputs, strict=True)
        lines += [f"  feed {name}: {node.spec}" for name, node in feeds]
        for number, each in enumerate(unit.instructions):
            lines.append(f"  {number:4} {unit.words_around(number)}{instruction_text(each)}")
        lines += [
            f"  result {view.buffer}: {node.spec}"
            for node, view in zip(unit.graph.outputs, unit.results, strict=False)
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        named = zip(self._inputs.names, self.inputs, strict=True)
        inputs = ", ".join(f"{name}: {node.spec}" for name, node in named)
        text = f"<Program ({inputs}) backend={self.options.backend!r}"
        if self._latest is not None:
            text += (
                f", {len(self.instructions)} instructions, arena {self.arena_nbytes:,} bytes, "
                f"{self.flops:,} FLOPs, {self.nbytes_moved:,} bytes moved"
            )
        return text + ">"


_PROGRAMS: weakref.WeakSet[Program] = weakref.WeakSet()


def _unlock() -> None:
    """In a forked child: the thread that held a program's lock is not there any more."""
    for program in _PROGRAMS:
        program._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _arrangement(outputs: Any) -> Callable[[list[Array]], Any]:
    """What makes the structure of the outputs of a list of results; quick for the usual ones."""
    if isinstance(outputs, Node):
        return itemgetter(0)
    if type(outputs) in (tuple, list) and all(isinstance(each, Node) for each in outputs):
        kind: Callable[[list[Array]], Any] = type(outputs)
        return kind
    if type(outputs) is dict and all(isinstance(each, Node) for each in outputs.values()):
        return lambda results: dict(zip(outputs, results, strict=False))
    return partial(unflatten, outputs)


def instruction_text(instruction: Instruction) -> str:
    """An instruction on one line: kind, operator, where it writes, what it reads, whose line."""
    reads = ", ".join(str(view.buffer) for view in instruction.sources)
    writes = ", ".join(str(view.buffer) for view in instruction.outputs)
    known = provenance(instruction.node)
    place = f"  # {', '.join(map(str, known.sources))}" if known.sources else ""
    return f"{instruction.kind:6} {instruction.label:14} {writes} <- {reads}{place}"
