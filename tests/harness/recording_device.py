"""A device that runs nothing: it writes down what it is asked for, and checks that it may be."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from cuda_shim import ShimDevice, require_static_memory

from graphnn.compiler.cuda.code import Code, Matrices, Matrix, Part
from graphnn.compiler.cuda.device import Function, Recording
from graphnn.compiler.kernel import Kernel
from graphnn.compiler.unit import Instruction, Unit, View
from graphnn.core.dtypes import as_dtype

MOST_BLOCKS = 2**31 - 1
MOST_PARAMETER_NBYTES = 4096
"""What every driver takes; newer ones take more."""


@dataclass(frozen=True)
class Launched:
    """What was launched, and where its operands are."""

    does: Part | Matrices
    addresses: tuple[int, ...]


class RecordingDevice(ShimDevice):
    """Nothing is computed: memory stays what it is.

    Attributes
    ----------
    launched : list of Launched
    memory : list
        All that was allocated, by address and size.
    n_recordings : int
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched: list[Launched] = []
        self.memory: list[tuple[int, int, Any]] = []
        self.n_recordings = 0
        self._is_recording = False
        self._has_turn = False

    @contextmanager
    def turn(self) -> Any:
        self._has_turn = True
        yield
        self._has_turn = False

    def stream(self) -> AbstractContextManager[None]:
        self._require_host("a call of the library")
        return super().stream()

    def allocate(self, nbytes: int) -> Any:
        self._require_host("allocation")
        made = super().allocate(nbytes)
        self.memory.append((self.address(made), nbytes, made))
        return made

    def upload(self, array: Any, address: int) -> None:
        self._require_host("upload")
        self._require_inside(address, array.nbytes)
        super().upload(array, address)

    def download(self, address: int, array: Any) -> None:
        self._require_host("download")
        self._require_inside(address, array.nbytes)
        array[...] = 0  # nothing is refused

    def copy(self, source: int, target: int, nbytes: int) -> None:
        self._require_inside(source, nbytes)
        self._require_inside(target, nbytes)

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        require_static_memory(codes)
        functions: dict[Part, Function] = {}
        for code in codes:
            for part in code.functions:
                assert part not in functions, "two functions of one name"
                head = code.source.partition(f" {part.name}(")[2].partition(")")[0]
                functions[part] = partial(self._launch_part, part, head.count("char*"))
        return functions

    def product(self, matrices: Matrices, precision: str) -> Function:
        def multiply(addresses: Sequence[int]) -> None:
            operands = zip(addresses, matrices.operands, strict=True)
            for address, (matrix, rows, columns) in operands:
                self._require_inside(address, extent(matrices, matrix, rows, columns))
            self._note(matrices, addresses)

        return multiply

    def fused_product(self, matrices: Matrices, precision: str, alignment: int) -> Function:
        assert alignment % as_dtype(matrices.dtype).itemsize == 0
        return self.product(matrices, precision)

    def record(self, work: Callable[[], None]) -> Recording:
        self._is_recording = True
        work()
        self._is_recording = False
        self.n_recordings += 1
        return lambda: None

    def wait(self) -> None:
        self._require_host("waiting")

    def mark(self) -> int:
        self._require_host("a moment")
        return super().mark()

    def _launch_part(self, part: Part, n_parameters: int, addresses: Sequence[int]) -> None:
        assert len(addresses) == n_parameters, part.name
        assert part.threads % 32 == 0, part
        assert 32 <= part.threads <= 1024, part
        assert 1 <= part.blocks <= MOST_BLOCKS, part
        assert n_parameters * 8 <= MOST_PARAMETER_NBYTES, part
        assert part.shared_nbytes <= self.shared_nbytes, part
        for address in addresses:
            self._require_inside(address, 0)
        self._note(part, addresses)

    def _note(self, does: Part | Matrices, addresses: Sequence[int]) -> None:
        assert self._has_turn
        assert all(type(each) is int for each in addresses)
        self.launched.append(Launched(does, tuple(addresses)))

    def _require_host(self, what: str) -> None:
        assert not self._is_recording, f"{what} while launches are recorded"

    def _require_inside(self, address: int, nbytes: int) -> None:
        assert any(
            start <= address and address + nbytes <= start + size for start, size, _ in self.memory
        ), f"{nbytes} bytes at {address} are not allocated"


def extent(matrices: Matrices, matrix: Matrix, rows: int, columns: int) -> int:
    """Bytes from the first element of some matrices to behind the last one."""
    steps = ((matrix.batch, matrices.batch), (matrix.row, rows), (matrix.column, columns))
    return (sum(by * (n - 1) for by, n in steps) + 1) * as_dtype(matrices.dtype).itemsize


def races(unit: Unit) -> list[str]:
    """Kernels of which one thread may write what another one has still to read.

    Threads run in any order: what is written lies apart from all that is read, or each element
    is read at the very point of the domain that writes it.
    """
    return [each.label for each in unit.instructions if any(_collisions(each))]


def _collisions(instruction: Instruction) -> Iterator[bool]:
    kernel = instruction.kernel
    if not isinstance(kernel, Kernel):
        return
    views = (*instruction.inputs, *instruction.outputs)
    for written in range(len(instruction.inputs), len(views)):
        for other, view in enumerate(views):
            if other != written and view.buffer is views[written].buffer:
                yield _collide(kernel, views, written, other)


def _collide(kernel: Kernel, views: Sequence[View], written: int, other: int) -> bool:
    """Whether a place is written at one point of the domain, and touched at another one."""
    points = np.arange(np.prod(kernel.sizes, dtype=int)).reshape(kernel.sizes)
    operand = kernel.operands[written]
    if not any(operand.strides[axis] for axis in kernel.reduced):  # once for all of a row
        first = tuple(
            slice(0, 1) if n in kernel.reduced else slice(None) for n in range(points.ndim)
        )
        points = np.broadcast_to(points[first], points.shape)
    targets = _places(kernel, views, written)
    touched = _places(kernel, views, other)
    if kernel.operands[other].dtype != operand.dtype:
        return bool(targets.min() <= touched.max() + 7 and touched.min() <= targets.max() + 7)
    point_of = dict(zip(targets.flat, points.flat, strict=True))
    return any(
        point_of.get(place, point) != point
        for place, point in zip(touched.flat, points.flat, strict=True)
    )


def _places(kernel: Kernel, views: Sequence[View], operand: int) -> Any:
    """Where in its buffer an operand is, by points of the domain."""
    axes = np.ix_(*(np.arange(size) for size in kernel.sizes))
    steps = zip(axes, kernel.operands[operand].strides, strict=True)
    return np.broadcast_to(views[operand].offset + sum(n * by for n, by in steps), kernel.sizes)
