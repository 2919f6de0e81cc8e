"""Many samples in one program: compiling one large program is cheaper than many small ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from drawing import Array, Case, Drawn, draw

from graphnn.core.node import Node

P = ParamSpec("P")
Check = Callable[Concatenate[Sequence[Case], P], None]


@dataclass(frozen=True)
class Together:
    """Samples side by side in one graph, each with inputs of its own.

    Attributes
    ----------
    cases : sequence of Case
    drawn : list of Drawn
        The values of each.
    inputs : list of list of Node
        The inputs of each.
    """

    cases: Sequence[Case]
    drawn: list[Drawn]
    inputs: list[list[Node]]

    @classmethod
    def of(cls, cases: Sequence[Case], dtype: str) -> "Together":
        """The samples with values of a dtype."""
        drawn = [draw(case.sample, dtype, case.generator()) for case in cases]
        inputs = [each.inputs(f"x{place}_") for place, each in enumerate(drawn)]
        return cls(cases, drawn, inputs)

    @property
    def arrays(self) -> list[Array]:
        """What is fed."""
        return joined([each.arrays for each in self.drawn])

    def outputs(self, inputs: Sequence[Sequence[Any]] | None = None) -> list[list[Node]]:
        """The results of each, of its own inputs if no others are given."""
        given = self.inputs if inputs is None else inputs
        return [
            as_list(drawn.call(case.operation.function, values))
            for case, drawn, values in zip(self.cases, self.drawn, given, strict=True)
        ]


def as_list(result: Any) -> list[Any]:
    """The results of an operation, which may have several."""
    return list(result) if isinstance(result, tuple | list) else [result]


def joined(lists: Sequence[Sequence[Any]]) -> list[Any]:
    """The elements of all lists."""
    return [each for elements in lists for each in elements]


def naming_failures(check: Check[P]) -> Check[P]:
    """A check of many samples that says, if it fails, which of them fail alone and why."""

    @wraps(check)
    def checked(cases: Sequence[Case], *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            check(cases, *args, **kwargs)
        except Exception as error:
            if len(cases) == 1:
                raise
            alone = {
                str(case): raised_by(lambda case=case: check([case], *args, **kwargs))
                for case in cases
            }
            failed = [f"{name}: {each!r}" for name, each in alone.items() if each is not None]
            raise AssertionError(
                "\n".join([f"{len(failed)} of {len(cases)} samples fail alone", *failed])
            ) from error

    return checked


def raised_by(call: Callable[[], Any]) -> Exception | None:
    """What a call raises."""
    try:
        call()
    except Exception as error:
        return error
    return None
