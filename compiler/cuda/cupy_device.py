"""A GPU by CuPy: its memory, its streams and graphs; kernels by NVRTC, products by cuBLAS(Lt)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np

from graphnn.compiler.cuda.code import Code, Convolution, Matrices, Part
from graphnn.compiler.cuda.cubins import Cubins, architecture_for
from graphnn.compiler.cuda.cublas import WORKSPACE_NBYTES, Cublas
from graphnn.compiler.cuda.cublaslt import CublasLt
from graphnn.compiler.cuda.cudnn import Cudnn, import_cudnn
from graphnn.compiler.cuda.device import Function, Recording
from graphnn.compiler.cuda.libraries import load_library
from graphnn.compiler.cuda.nvrtc import Nvrtc
from graphnn.compiler.cuda.requirements import require_gpu
from graphnn.compiler.cuda.staging import Staging
from graphnn.compiler.native.cache import Cache, default_directory
from graphnn.core.dtypes import DType, as_dtype
from graphnn.core.errors import DeviceError, FeedError, MissingPackageError
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
    load : callable
        Gives the library "cublas" or "cublasLt", when the first product needs it; see
        `load_library`.
    import_cudnn : callable
        Gives the package, or None if it is not there; called for the first convolution.
    """

    def __init__(
        self,
        cupy: Any,
        build: Build,
        load: Callable[[str], Any],
        import_cudnn: Callable[[], Any | None],
    ) -> None:
        self._cupy, self._build = cupy, build
        self._load, self._import_cudnn = load, import_cudnn
        self._runtime = cupy.cuda.runtime
        self._gpu = cupy.cuda.Device()
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._caller_is_done = cupy.cuda.Event(disable_timing=True)
        self._is_done = cupy.cuda.Event(disable_timing=True)
        # They stay loaded: a program may be gone before its work is done.
        self._modules: dict[bytes, Any] = {}
        self._keeps_nan: dict[Function, bool] = {}
        self._lock = threading.RLock()
        self._process = os.getpid()
        self._staging = Staging(cupy, self._stream)
        optin = self._runtime.cudaDevAttrMaxSharedMemoryPerBlockOptin
        self.shared_nbytes = int(self._runtime.deviceGetAttribute(optin, self._gpu.id))
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
                raise self._too_little(f"{size_text(nbytes)} are needed") from None

    def _too_little(self, needed: str) -> DeviceError:
        """The error of memory that is not there."""
        free, total = map(size_text, self._runtime.memGetInfo())
        return DeviceError(
            f"{self.name} has too little memory: {needed}, {free} of {total} are free",
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
                for part in (part for code in some for part in code.functions):
                    functions[part] = self._launcher(module.get_function(part.name), part)
        return functions

    def _launcher(self, function: Any, part: Part) -> Function:
        grid, block, stream = (part.blocks,), (part.threads,), self._stream
        nbytes = part.shared_nbytes
        if nbytes:  # more than 48 KiB must be asked for
            driver = self._cupy.cuda.driver
            most = driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            driver.funcSetAttribute(function.ptr, most, nbytes)

        def launch(addresses: Sequence[int]) -> None:
            function(grid, block, addresses, nbytes, stream)

        return launch

    @contextmanager
    def stream(self) -> Iterator[None]:
        """See `Device.stream`."""
        with self._stream:
            try:
                yield
            except self._cupy.cuda.memory.OutOfMemoryError as error:
                # CuPy's own words say how much.
                raise self._too_little("there is none for a result or a library") from error

    def product(self, matrices: Matrices, precision: str) -> Function:
        """See `Device.product`."""
        return self._cublas.product(matrices, precision)

    def fused_product(self, matrices: Matrices, precision: str, alignment: int) -> Function | None:
        """See `Device.fused_product`."""
        if self._cublaslt is None:
            return None
        multiply = self._cublaslt.product(matrices, precision, alignment)
        if multiply is None or not (matrices.epilogue and matrices.epilogue.function):
            return multiply
        if multiply not in self._keeps_nan:
            self._keeps_nan[multiply] = self._gives_nan_for_nan(multiply, matrices)
        return multiply if self._keeps_nan[multiply] else None

    def _gives_nan_for_nan(self, multiply: Function, matrices: Matrices) -> bool:
        """Whether an epilogue hides no NaN: the library does not promise it, so it is tried."""
        dtype = as_dtype(matrices.dtype)
        *sizes, size = (
            dtype.itemsize * matrix.reach(rows, columns, matrices.batch)
            for matrix, rows, columns in matrices.operands
        )
        try:
            inputs, out = self.allocate(max(sizes)), self.allocate(size)
        except DeviceError:
            return False
        nan, result = self.address(inputs), self.address(out)
        self._runtime.memsetAsync(nan, 0xFF, max(sizes), self._stream.ptr)
        self._runtime.memsetAsync(result, 0, size, self._stream.ptr)
        multiply([*(nan for _ in sizes), result])
        found = np.zeros(1, dtype)
        self.download(result, found)
        return bool(np.isnan(found[0]))

    @cached_property
    def _workspace(self) -> Any:
        """Memory of both libraries: they work on one stream, one after the other."""
        return self.allocate(WORKSPACE_NBYTES)

    @cached_property
    def _cublas(self) -> Cublas:
        workspace = self.address(self._workspace)
        with self._gpu:
            return Cublas(self._load("cublas"), self._stream.ptr, workspace)

    @cached_property
    def _cublaslt(self) -> CublasLt | None:
        """None if the library is not installed: kernels apply epilogues then."""
        workspace = self.address(self._workspace)
        with self._gpu, contextlib.suppress(MissingPackageError):
            return CublasLt(self._load("cublasLt"), self._stream.ptr, workspace)
        return None

    def convolution(self, convolution: Convolution, precision: str) -> Function | None:
        """See `Device.convolution`."""
        if self._cudnn is None:
            return None
        with self._gpu:
            return self._cudnn.convolution(convolution, precision)

    @cached_property
    def _cudnn(self) -> Cudnn | None:
        package = self._import_cudnn()
        if package is None:
            return None
        with self._gpu:
            return Cudnn(package, self._stream.ptr, self.allocate, self.address)

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
            _DEVICES[number] = CupyDevice(cupy, cubins.build, load_library, import_cudnn)
        return _DEVICES[number]
