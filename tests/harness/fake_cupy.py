"""What graphnn uses of CuPy and cuBLAS, on the host's memory.

Streams do nothing until they are waited for, so that what is not in order is not done in order.
Memory begins as 0xFF. Functions of modules are those of `cuda_shim`: a "cubin" is the path of a
library.
"""

import ctypes
import time
from types import SimpleNamespace

import numpy as np
from cuda_shim import built
from fake_cublaslt import FakeCublasLt

__all__ = ["FakeCublas", "FakeCupy", "build", "libraries"]


def build(codes):
    """In place of `Cubins.build`: some modules, as those have."""
    return [(some, str(built(some)).encode()) for some in (codes[:2], codes[2:]) if some]


def libraries(cupy):
    """CUDA's libraries by name."""
    return {"cublas": FakeCublas(cupy), "cublasLt": FakeCublasLt(cupy)}


class Stream:
    """Work that is done when somebody waits for it."""

    def __init__(self, cupy, number):
        self._cupy, self.ptr = cupy, number
        self.todo, self.n_done, self.captured = [], 0, None

    def give(self, work):
        if self.captured is not None:
            self.captured.append(work)
        else:
            self.todo.append(work)

    def run_until(self, count):
        while self.n_done < count and self.todo:
            work = self.todo.pop(0)
            self.n_done += 1
            work()

    def synchronize(self):
        assert self.captured is None, "a stream that is recorded cannot be waited for"
        self.run_until(self.n_done + len(self.todo))

    def wait_event(self, event):
        self.give(event.synchronize)

    def begin_capture(self, mode=None):
        assert self.captured is None
        assert self.ptr != 0
        self.captured = []

    def end_capture(self):
        captured, self.captured = self.captured, None
        self._cupy.n_graphs += 1
        return SimpleNamespace(launch=lambda stream: [stream.give(each) for each in captured])

    def __enter__(self):
        self._cupy.streams.append(self)

    def __exit__(self, *_):
        self._cupy.streams.pop()


class Event:
    def __init__(self, disable_timing=False):
        self._stream, self._count, self.time = None, 0, None
        self._has_time = not disable_timing

    def record(self, stream):
        assert stream.captured is None
        self._stream, self._count = stream, stream.n_done + len(stream.todo)
        if self._has_time:
            self._count += 1
            stream.give(self._note)

    def _note(self):
        self.time = time.perf_counter()

    def synchronize(self):
        if self._stream is not None:
            self._stream.run_until(self._count)


class Pointer:
    """Memory, or a place in it."""

    def __init__(self, memory, ptr):
        self.memory, self.ptr = memory, ptr

    def __add__(self, offset):
        return Pointer(self.memory, self.ptr + offset)


class Module:
    def __init__(self, cupy):
        self._cupy = cupy

    def load(self, cubin):
        assert isinstance(cubin, bytes)
        self._library = ctypes.CDLL(cubin.decode())

    def get_function(self, name):
        return Function(self._cupy, getattr(self._library, f"shim_{name}"))


class Function:
    """A function of a module; its address is a number that the fake knows it by."""

    def __init__(self, cupy, function):
        self._cupy, self._function = cupy, function
        self.ptr = len(cupy.shared_nbytes) + 1
        cupy.shared_nbytes[self.ptr] = 48 << 10

    def __call__(self, grid, block, args, shared_mem=0, stream=None):
        assert isinstance(grid, tuple)
        assert isinstance(block, tuple)
        assert all(type(each) is int for each in args)
        assert shared_mem <= self._cupy.shared_nbytes[self.ptr], "more than was asked for"
        given = (ctypes.c_void_p * len(args))(*args)
        stream.give(lambda: self._function(given, *grid, *block, self._cupy.is_reversed, 1))


class FakeCupy:
    """The module ``cupy``.

    Attributes
    ----------
    free_nbytes : int
        Memory that there still is.
    n_graphs : int
        How many recordings were made.
    shared_nbytes : dict of int to int
        Most bytes of shared memory that functions may be launched with.
    """

    __version__ = "14.0.0"

    def __init__(self, *, is_reversed=False, driver=13000, runtime=13020, n_gpus=1):
        fake = self
        self.is_reversed, self.free_nbytes, self.n_graphs = is_reversed, 1 << 30, 0
        self.pool, self.shared_nbytes = [], {}
        self.null = Stream(self, 0)
        self.all_streams, self.streams = {0: self.null}, [self.null]

        class CUDARuntimeError(RuntimeError):
            pass

        class Device:
            compute_capability = "90"

            def __init__(self, device=None):
                self.id = 0 if device is None else device

            def __enter__(self):
                return self

            def __exit__(self, *_):
                pass

        class FakeArray:
            """An array of the GPU."""

            def __init__(self, shape, dtype=float, memptr=None, strides=None):
                self.strides = strides
                self.shape, self.dtype, self.data = shape, np.dtype(dtype), memptr
                self.device, self.flags = Device(), SimpleNamespace(c_contiguous=True)
                self.ndim = len(shape)
                self.size = int(np.prod(shape))
                self.nbytes = self.size * self.dtype.itemsize

            @property
            def __cuda_array_interface__(self):
                return {"shape": self.shape, "data": (self.data.ptr, False), "version": 3}

            def __array__(self, *_, **__):
                raise TypeError("implicit conversion to a NumPy array is not allowed")

            def on_host(self):
                """The memory itself."""
                memory, start = self.data.memory, self.data.ptr - self.data.memory.ctypes.data
                return np.ndarray(self.shape, self.dtype, memory, start, self.strides)

            def copy(self):
                made = FakeArray(self.shape, self.dtype, fake._alloc(self.nbytes))
                fake.streams[-1].give(lambda: np.copyto(made.on_host(), self.on_host()))
                return made

            def get(self):
                fake.streams[-1].synchronize()
                return self.on_host().copy()

            def __float__(self):
                return float(self.get())

            def __len__(self):
                return self.shape[0]

            def astype(self, dtype):
                return fake.asarray(self.get().astype(dtype))

        def no_such_gpu():
            if n_gpus == 0:
                raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            return n_gpus

        self.ndarray = FakeArray
        runtime = SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            memcpyHostToDevice=1,
            memcpyDeviceToHost=2,
            memcpyDeviceToDevice=3,
            streamCaptureModeThreadLocal=1,
            cudaDevAttrMaxSharedMemoryPerBlockOptin=97,
            deviceGetAttribute=lambda attribute, _: {97: 227 << 10}[attribute],
            memcpyAsync=self._copy,
            memsetAsync=self._fill,
            getDeviceProperties=lambda _: {"name": b"a fake GPU"},
            memGetInfo=lambda: (self.free_nbytes, 1 << 30),
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda runtime=runtime: runtime,
            getDeviceCount=no_such_gpu,
        )
        self.cuda = SimpleNamespace(
            runtime=runtime,
            driver=SimpleNamespace(
                CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8,
                funcSetAttribute=self._set_attribute,
            ),
            memory=SimpleNamespace(OutOfMemoryError=type("OutOfMemoryError", (MemoryError,), {})),
            function=SimpleNamespace(Module=lambda: Module(self)),
            Device=Device,
            Stream=self._stream,
            Event=Event,
            alloc=self._alloc,
            alloc_pinned_memory=lambda size: Pointer(*_host_memory(size)),
            get_current_stream=lambda: self.streams[-1],
            get_elapsed_time=lambda first, last: 1e3 * (last.time - first.time),
        )

    def asarray(self, value):
        """A new array with the values of one of the host."""
        memory = self._alloc(value.nbytes)
        ctypes.memmove(memory.ptr, np.ascontiguousarray(value).ctypes.data, value.nbytes)
        return self.ndarray(value.shape, value.dtype, memory)

    def from_dlpack(self, value):
        return value.handed_out

    def ascontiguousarray(self, value):
        return value

    def _stream(self, non_blocking=False):
        assert non_blocking
        number = len(self.all_streams)
        self.all_streams[number] = Stream(self, number)
        return self.all_streams[number]

    def _alloc(self, size):
        assert all(each.captured is None for each in self.all_streams.values()), "while recording"
        if size > self.free_nbytes:
            raise self.cuda.memory.OutOfMemoryError
        self.free_nbytes -= size
        made = Pointer(*_host_memory(size))
        self.pool.append(made)  # what is given back stays there for work that is under way
        return made

    def _set_attribute(self, function, attribute, value):
        assert attribute == 8
        assert value <= 227 << 10
        self.shared_nbytes[function] = value

    def _fill(self, target, byte, size, stream):
        stream = self.all_streams[stream]
        stream.give(lambda: ctypes.memset(target, byte, size))

    def _copy(self, target, source, size, kind, stream):
        stream = self.all_streams[stream]
        assert kind == 3 or stream.captured is None, "the host takes part in a recording"
        stream.give(lambda: ctypes.memmove(target, source, size))


def _host_memory(size):
    memory = np.full(size + 512, 0xFF, np.uint8)
    return memory, -(-memory.ctypes.data // 512) * 512


CUDA_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 4: np.complex64, 5: np.complex128}


class FakeCublas:
    """The library: products of matrices that lie column by column."""

    def __init__(self, cupy):
        self._cupy, self._stream, self.has_workspace, self.mode = cupy, None, False, 0
        self.computes = []
        self.cublasCreate_v2 = self._create
        self.cublasSetStream_v2 = self._set_stream
        self.cublasSetWorkspace_v2 = self._set_workspace
        self.cublasSetMathMode = self._set_math_mode
        self.cublasGetStatusString = lambda status: b"the fake refuses"
        self.cublasGemmEx = self._gemm
        self.cublasGemmStridedBatchedEx = self._gemms

    def _create(self, handle):
        handle._obj.value = 7
        return 0

    def _set_stream(self, handle, stream):
        self._stream = self._cupy.all_streams[stream.value]
        self.has_workspace = False
        return 0

    def _set_workspace(self, handle, workspace, size):
        self.has_workspace = True
        return 0

    def _set_math_mode(self, handle, mode):
        self.mode = mode.value
        return 0

    def _gemm(
        self, handle, ta, tb, m, n, k, one, a, at, lda, b, bt, ldb, zero, c, ct, ldc, *rest
    ):  # fmt: skip
        none = ctypes.c_longlong(0)
        return self._gemms(
            *(handle, ta, tb, m, n, k, one, a, at, lda, none, b, bt, ldb, none, zero),
            *(c, ct, ldc, none, ctypes.c_int(1), *rest),
        )

    def _gemms(
        self, handle, ta, tb, m, n, k, one, a, at, lda, sa, b, bt, ldb, sb, zero, c, ct, ldc, sc,
        batch, compute, algorithm,
    ):  # fmt: skip
        assert (handle.value, algorithm.value, self.has_workspace) == (7, -1, True)
        assert (list(one._obj), list(zero._obj)) == ([1, 0], [0, 0])
        self.computes.append(compute.value)
        m, n, k, batch = m.value, n.value, k.value, batch.value
        first = (m, k) if ta.value == 0 else (k, m)
        second = (k, n) if tb.value == 0 else (n, k)
        a = self._matrices(a, at, lda, sa, batch, *first)
        b = self._matrices(b, bt, ldb, sb, batch, *second)
        c = self._matrices(c, ct, ldc, sc, batch, m, n)
        a = a if ta.value == 0 else a.swapaxes(1, 2)
        b = b if tb.value == 0 else b.swapaxes(1, 2)
        wide = np.result_type(c.dtype, np.float32)

        def multiply():
            c[...] = (a.astype(wide) @ b.astype(wide)).astype(c.dtype)

        self._stream.give(multiply)
        return 0

    def _matrices(self, address, dtype, lead, step, batch, rows, columns):
        """Matrices as cuBLAS reads them: elements of a column are neighbours."""
        assert lead.value >= max(rows, 1), "leading dimension"
        kind = np.dtype(CUDA_DTYPES[dtype.value])
        reach = step.value * (batch - 1) + lead.value * (columns - 1) + rows
        memory = (ctypes.c_char * (reach * kind.itemsize)).from_address(address.value)
        strides = [each * kind.itemsize for each in (step.value, 1, lead.value)]
        return np.ndarray((batch, rows, columns), kind, memory, 0, strides)
