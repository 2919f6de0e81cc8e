"""Printing LLVM IR: one function at a time, with fresh names, loops and vectors.

Values carry their LLVM type. A value may be a vector: every operation works alike on ``float``
and ``<8 x float>``, so code generators are written once for all widths.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from graphnn.compiler.native.target import Target, host_target

__all__ = ["Builder", "V", "element_of", "lanes_of", "vector_of"]


@dataclass(frozen=True, slots=True)
class V:
    """An LLVM value: its text (a name or a constant) and its type."""

    text: str
    type: str

    def __str__(self) -> str:
        return f"{self.type} {self.text}"


def vector_of(type_: str, lanes: int) -> str:
    """The type of so many elements; the element's own for one."""
    return type_ if lanes == 1 else f"<{lanes} x {type_}>"


def lanes_of(type_: str) -> int:
    """How many elements a type has."""
    return int(type_[1:].split(" ", 1)[0]) if type_.startswith("<") else 1


def element_of(type_: str) -> str:
    """The type of one element."""
    return type_[1:-1].split(" x ", 1)[1] if type_.startswith("<") else type_


_SUFFIX = {"float": "f32", "double": "f64", "half": "f16", "bfloat": "bf16"}


def suffix_of(type_: str) -> str:
    """How intrinsics name a type: ``v8f32``."""
    element, lanes = element_of(type_), lanes_of(type_)
    word = _SUFFIX.get(element, element)
    return word if lanes == 1 else f"v{lanes}{word}"


class Builder:
    """Prints one function.

    Attributes
    ----------
    declared : set of str
        Declarations of the intrinsics and functions it calls.
    target : Target
        The processor it is for; by default the one that this process runs on.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[V],
        result: str = "void",
        target: Target | None = None,
    ) -> None:
        self.declared: set[str] = set()
        self.target = target or host_target()
        self._head = f"define {result} @{name}({', '.join(map(str, arguments))}) nounwind {{"
        self._entry: list[str] = []
        self._lines: list[str] = []
        self._count = 0
        self._block = "entry"

    # ---------------------------------------------------------------------------- values

    def name(self, hint: str = "v") -> str:
        """A name that is not in use."""
        self._count += 1
        return f"%{hint}{self._count}"

    def emit(self, type_: str, text: str, hint: str = "v") -> V:
        """An instruction with a result."""
        value = V(self.name(hint), type_)
        self._lines.append(f"  {value.text} = {text}")
        return value

    def do(self, text: str) -> None:
        """An instruction without a result."""
        self._lines.append(f"  {text}")

    def binary(self, op: str, a: V, b: V) -> V:
        """``fadd``, ``mul``, ``and``, ``shl`` ... of two values of one type."""
        return self.emit(a.type, f"{op} {a}, {b.text}")

    def unary(self, op: str, a: V) -> V:
        """``fneg``."""
        return self.emit(a.type, f"{op} {a}")

    def compare(self, predicate: str, a: V, b: V) -> V:
        """``fcmp olt``, ``icmp eq`` ...: the whole of it, for example ``"fcmp olt"``."""
        return self.emit(vector_of("i1", lanes_of(a.type)), f"{predicate} {a}, {b.text}")

    def select(self, condition: V, a: V, b: V) -> V:
        """The first where the condition holds, else the second."""
        return self.emit(a.type, f"select {condition}, {a}, {b}")

    def cast(self, op: str, a: V, element: str) -> V:
        """``fptrunc``, ``sitofp``, ``zext``, ``bitcast`` ... to another element type."""
        to = vector_of(element, lanes_of(a.type))
        return a if to == a.type else self.emit(to, f"{op} {a} to {to}")

    def call(self, function: str, result: str, *arguments: V, attributes: str = "") -> V:
        """Call a function by its full name; it is declared."""
        types = ", ".join(a.type for a in arguments)
        self.declared.add(f"declare {result} @{function}({types}) {attributes}".rstrip())
        text = f"call {result} @{function}({', '.join(map(str, arguments))})"
        if result == "void":
            self.do(text)
            return V("", "void")
        return self.emit(result, text)

    def intrinsic(self, name: str, *arguments: V, result: str = "") -> V:
        """``llvm.NAME`` overloaded on its first argument's type: ``intrinsic("fma", a, b, c)``."""
        kind = result or arguments[0].type
        return self.call(f"llvm.{name}.{suffix_of(arguments[0].type)}", kind, *arguments)

    # ------------------------------------------------------------------------- constants

    @staticmethod
    def integer(value: int, type_: str = "i64") -> V:
        """An integer constant, in all lanes."""
        return _splat_constant(str(value), type_)

    @staticmethod
    def real(value: float, type_: str) -> V:
        """A float constant, in all lanes; rounded to the type."""
        if element_of(type_) == "float":
            value = _rounded_to_single(value)
        bits = struct.unpack(">Q", struct.pack(">d", value))[0]
        return _splat_constant(f"0x{bits:016X}", type_)

    def splat(self, value: V, lanes: int) -> V:
        """A scalar in all lanes."""
        if lanes == 1 or value.type.startswith("<"):
            return value
        wide = vector_of(value.type, lanes)
        first = self.emit(wide, f"insertelement {wide} poison, {value}, i32 0")
        zeros = f"<{lanes} x i32> zeroinitializer"
        return self.emit(wide, f"shufflevector {first}, {wide} poison, {zeros}", "splat")

    def lane(self, value: V, index: int) -> V:
        """One element of a vector."""
        if not value.type.startswith("<"):
            return value
        return self.emit(element_of(value.type), f"extractelement {value}, i32 {index}")

    def numbered(self, lanes: int, type_: str = "i64", step: int = 1) -> V:
        """``<0, step, 2 * step, ...>``."""
        if lanes == 1:
            return V("0", type_)
        listed = ", ".join(f"{type_} {step * each}" for each in range(lanes))
        return V(f"<{listed}>", vector_of(type_, lanes))

    # ---------------------------------------------------------------------------- memory

    def at(self, base: V, offset: V | int) -> V:
        """The address so many bytes behind another."""
        if isinstance(offset, int):
            if offset == 0:
                return base
            offset = self.integer(offset)
        return self.emit("ptr", f"getelementptr i8, {base}, {offset}", "p")

    def load(self, address: V, type_: str, align: int) -> V:
        """What is at an address."""
        return self.emit(type_, f"load {type_}, {address}, align {align}")

    def store(self, value: V, address: V, align: int) -> None:
        """Write a value to an address."""
        self.do(f"store {value}, {address}, align {align}")

    def local(self, type_: str, count: int = 1, align: int = 64) -> V:
        """Memory of this call of the function; a single one of a type becomes a register."""
        address = V(self.name("local"), "ptr")
        many = f", i64 {count}" if count != 1 else ""
        self._entry.append(f"  {address.text} = alloca {type_}{many}, align {align}")
        return address

    # -------------------------------------------------------------------------- control

    def label(self, hint: str) -> str:
        """A label that is not in use."""
        self._count += 1
        return f"{hint}{self._count}"

    def start(self, label: str) -> None:
        """Begin a block."""
        self._lines.append(f"{label}:")
        self._block = label

    def branch(self, label: str) -> None:
        """Go on at a label."""
        self.do(f"br label %{label}")

    def branch_if(self, condition: V, yes: str, no: str) -> None:
        """Go on at one of two labels."""
        self.do(f"br {condition}, label %{yes}, label %{no}")

    @contextmanager
    def loop(self, start: V | int, stop: V | int, step: int = 1) -> Iterator[V]:
        """``for index in range(start, stop, step)`` over int64; the index is given.

        What changes from turn to turn lives in memory from `local`, which LLVM turns into
        registers.
        """
        first, last = (self.integer(x) if isinstance(x, int) else x for x in (start, stop))
        before = self._block
        head, body, done = self.label("head"), self.label("body"), self.label("done")
        index, following = V(self.name("i"), "i64"), V(self.name("i"), "i64")
        self.branch(head)
        self.start(head)
        place = len(self._lines)
        self._lines.append("")  # the phi, once the last block of the body is known
        going = self.compare("icmp slt", index, last)
        self.branch_if(going, body, done)
        self.start(body)
        yield index
        self.do(f"{following.text} = add nsw {index}, {step}")
        self._lines[place] = (
            f"  {index.text} = phi i64 [ {first.text}, %{before} ], "
            f"[ {following.text}, %{self._block} ]"
        )
        self.branch(head)
        self.start(done)

    @contextmanager
    def when(self, condition: V) -> Iterator[None]:
        """``if condition:``."""
        yes, done = self.label("yes"), self.label("done")
        self.branch_if(condition, yes, done)
        self.start(yes)
        yield
        self.branch(done)
        self.start(done)

    def function(self, returned: V | None = None) -> str:
        """The whole text; call it last."""
        end = f"  ret {returned}" if returned is not None else "  ret void"
        return "\n".join([self._head, "entry:", *self._entry, *self._lines, end, "}"])


def _rounded_to_single(value: float) -> float:
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return single


def _splat_constant(text: str, type_: str) -> V:
    lanes, element = lanes_of(type_), element_of(type_)
    if lanes == 1:
        return V(text, type_)
    return V(f"<{', '.join([f'{element} {text}'] * lanes)}>", type_)
