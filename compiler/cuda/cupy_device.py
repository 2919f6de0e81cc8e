"""A GPU by CuPy: its memory, its streams and graphs; kernels by NVRTC, products by cuBLAS."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from typing import Any, cast

from graphnn.compiler.cuda.code import Code, Matrices, Part
from graphnn.compiler.cuda.cubins import Cubins, architecture_for
from graphnn.compiler.cuda.cublas import WORKSPACE_NBYTES, Cublas
from graphnn.compiler.cuda.device import Function, Recording
from graphnn.compiler.cuda.libraries import load_library
from graphnn.compiler.cuda.nvrtc import Nvrtc
from graphnn.compiler.cuda.requirements import require_gpu
from graphnn.compiler.cuda.staging import Staging
from graphnn.compiler.native.cache import Cache, default_directory
from graphnn.core.dtypes import DType
from graphnn.core.errors import DeviceError, FeedError
from graphnn.core.op import Array
from graphnn.core.text import size_text

__all__ = ["CupyDevice", "current_device"]

Build = Callable[[Sequence[Code]], Sequence[tuple[Sequence[Code], bytes]]]


class CupyDevice:
    """The GPU that is CuPy's current one.

    All work goes to one stream of its own. What the caller's current stream has been given before
    is done first, and what it is given afterwards comes later: see `turn`.

    Parameters
    ----------
    cupy : module
    build : callable
        Makes modules of code: see `Cubins.build`.
    load_cublas : callable
        Gives the library; called when the first product is asked for.
    """

    def __init__(self, cupy: Any, build: Build, load_cublas: Callable[[], Any]) -> None:
        self._cupy, self._build, self._load_cublas = cupy, build, load_cublas
        self._runtime = cupy.cuda.runtime
        self._gpu = cupy.cuda.Device()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._caller_is_done = cupy.cuda.Event(disable_timing=True)
        self._is_done = cupy.cuda.Event(disable_timing=True)
        # They stay loaded: a program may be gone before its work is done.
        self._modules: dict[bytes, Any] = {}
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._staging = Staging(cupy, self._stream)
        self.name = str(self._runtime.getDeviceProperties(self._gpu.id)["name"].decode())

    def require_own_process(self) -> None:
        """Refuse to work in a process that was forked: CUDA's state does not go with it.

        Raises
        ------
        DeviceError
        """
        if os.getpid() != self._process:
            raise DeviceError(
                f"{self.name} is in use by the process that this one was forked from, "
                "and CUDA does not work in both",
                hint='multiprocessing.get_context("spawn") starts processes that have their own',
                where="",
            )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See `Device.turn`."""
        self.require_own_process()
        with self._lock, self._gpu:
            caller = self._cupy.cuda.get_current_stream()
            self._caller_is_done.record(caller)
            self._stream.wait_event(self._caller_is_done)
            try:
                yield
            except BaseException:
                # The caller may give back what launches before the error still read.
                with contextlib.suppress(Exception):
                    self._end_turn(caller)
                raise
            self._end_turn(caller)

    def _end_turn(self, caller: Any) -> None:
        """What a stream is given from now on comes after all work so far."""
        self._is_done.record(self._stream)
        caller.wait_event(self._is_done)

    # ------------------------------------------------------------------------------- memory

    def allocate(self, nbytes: int) -> Any:
        """See `Device.allocate`."""
        cuda = self._cupy.cuda
        with self._gpu, self._stream:  # given back, it is used on this stream again
            try:
                return cuda.alloc(max(nbytes, 1))
            except cuda.memory.OutOfMemoryError:
                free, total = self._runtime.memGetInfo()
        raise DeviceError(
            f"{self.name} has too little memory: {size_text(nbytes)} are needed, "
            f"{size_text(free)} of {size_text(total)} are free",
            hint="smaller batches, or gn.compile(..., memory_budget=...); "
            "cupy.get_default_memory_pool().free_all_blocks() gives back what CuPy keeps",
            where="",
        )

    def address(self, memory: Any) -> int:
        """See `Device.address`."""
        return int(memory.ptr)

    def upload(self, array: Array, address: int) -> None:
        """See `Device.upload`."""
        self.require_own_process()
        with self._lock:
            self._staging.upload(array, address)

    def download(self, address: int, array: Array) -> None:
        """See `Device.download`."""
        self.require_own_process()
        with self._lock:
            self._staging.download(address, array)

    def copy(self, source: int, target: int, nbytes: int) -> None:
        """See `Device.copy`."""
        kind = self._runtime.memcpyDeviceToDevice
        self._runtime.memcpyAsync(target, source, nbytes, kind, self._stream.ptr)

    def address_of(self, array: Any) -> int | None:
        """See `Device.address_of`."""
        if not isinstance(array, self._cupy.ndarray):
            return None
        if array.device.id != self._gpu.id:
            raise FeedError(
                f"an array lies on GPU {array.device.id}, but the program runs on "
                f"GPU {self._gpu.id}",
                hint="copy it there: with cupy.cuda.Device(...): array.copy()",
                where="",
            )
        return int(array.data.ptr)

    def view(
        self, memory: Any, address: int, shape: Sequence[int], strides: Sequence[int], dtype: DType
    ) -> Any:
        """See `Device.view`."""
        place = memory + (address - self.address(memory))
        return self._cupy.ndarray(tuple(shape), dtype, place, strides=tuple(strides))

    # --------------------------------------------------------------------------------- work

    def load(self, codes: Sequence[Code]) -> dict[Part, Function]:
        """See `Device.load`."""
        functions: dict[Part, Function] = {}
        with self._gpu:
            for some, cubin in self._build(codes):
                module = self._modules.get(cubin)
                if module is None:
                    module = self._modules[cubin] = self._cupy.cuda.function.Module()
                    module.load(cubin)
                parts = (part for code in some for part in code.parts)
                for part in (each for each in parts if isinstance(each, Part)):
                    functions[part] = self._launcher(module.get_function(part.name), part)
        return functions

    def _launcher(self, function: Any, part: Part) -> Function:
        grid, block, stream = (part.blocks,), (part.threads,), self._stream

        def launch(addresses: Sequence[int]) -> None:
            function(grid, block, addresses, stream=stream)

        return launch

    def stream(self) -> AbstractContextManager[object]:
        """See `Device.stream`."""
        return cast("AbstractContextManager[object]", self._stream)

    def product(self, matrices: Matrices, precision: str) -> Function:
        """See `Device.product`."""
        return self._cublas.product(matrices, precision)

    @cached_property
    def _cublas(self) -> Cublas:
        self._workspace = self.allocate(WORKSPACE_NBYTES)
        with self._gpu:
            return Cublas(self._load_cublas(), self._stream.ptr, self.address(self._workspace))

    def record(self, work: Callable[[], None]) -> Recording:
        """See `Device.record`."""
        # What other threads do meanwhile is theirs; what this one may not do is an error.
        self._stream.begin_capture(self._runtime.streamCaptureModeThreadLocal)
        try:
            work()
        except BaseException:
            with contextlib.suppress(Exception):  # the stream must not stay in capture mode
                self._stream.end_capture()
            raise
        graph, stream = self._stream.end_capture(), self._stream

        def launch() -> None:
            graph.launch(stream)

        return launch

    def wait(self) -> None:
        """See `Device.wait`."""
        self._stream.synchronize()

    def mark(self) -> Any:
        """See `Device.mark`."""
        event = self._cupy.cuda.Event()
        event.record(self._stream)
        return event

    def elapsed_ns(self, first: Any, last: Any) -> float:
        """See `Device.elapsed_ns`."""
        last.synchronize()
        return 1e6 * float(self._cupy.cuda.get_elapsed_time(first, last))


_DEVICES: dict[int, CupyDevice] = {}
_LOCK = threading.Lock()


def current_device() -> CupyDevice:
    """CuPy's current GPU.

    Raises
    ------
    MissingPackageError
        If CuPy or one of CUDA's libraries is not installed.
    DeviceError
        If there is no GPU, the driver is too old for CuPy, or this process was forked from one
        that uses a GPU.
    """
    for each in _DEVICES.values():
        each.require_own_process()
    cupy = require_gpu()
    number = cupy.cuda.Device().id
    with _LOCK:
        if number not in _DEVICES:
            nvrtc, folder = Nvrtc(), default_directory()
            capability = int(cupy.cuda.Device().compute_capability)
            architecture = architecture_for(capability, nvrtc.architectures)
            cubins = Cubins(nvrtc, architecture, Cache(folder) if folder else None)
            _DEVICES[number] = CupyDevice(cupy, cubins.build, lambda: load_library("cublas"))
        return _DEVICES[number]
