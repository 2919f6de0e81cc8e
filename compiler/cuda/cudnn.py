"""Convolutions by cuDNN, where NVIDIA's package for it is installed: a handle of our own.

Plans are made, and memory for them is allocated, when a program is made ready; what is called
afterwards only launches, so that it can be recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from graphnn.compiler.cuda.code import Convolution, Tensor
from graphnn.compiler.cuda.device import Function
from graphnn.core.errors import DeviceError

__all__ = ["Cudnn", "cudnn_words", "described", "import_cudnn"]

OLDEST = (1, 32)
"""The first version of nvidia-cudnn-frontend whose interfaces are used."""

MOST_WORKSPACE_NBYTES = 1 << 28
"""Of one plan; a power of two."""

_DTYPES = {"float16": "HALF", "bfloat16": "BFLOAT16", "float32": "FLOAT", "float64": "DOUBLE"}
"""Names in ``cudnn.data_type``."""

_NEVER = ("NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION")
"""What no plan may do, by its name in ``cudnn.numerical_note``: results are the same at every run,
and half floats are summed in float32."""

_NOT_STRICTLY = (
    "DOWN_CONVERT_INPUTS",
    "FFT",
    "TENSOR_CORE",
    "WINOGRAD",
    "WINOGRAD_TILE_4x4",
    "WINOGRAD_TILE_6x6",
    "WINOGRAD_TILE_13x13",
)
"""What is not done in strict float32: factors rounded to TF32, and transforms whose errors are
larger than those of sums of products. float64 has no tensor cores that round."""


def _version(package: Any) -> tuple[int, ...]:
    return tuple(int(each) for each in package.__version__.split(".")[:2])


def import_cudnn() -> Any | None:
    """The package ``cudnn``; None without it, without the library, or if it is too old."""
    try:
        import cudnn

        cudnn.backend_version()  # fails where the package has not found the library
    except (ImportError, OSError, RuntimeError):
        return None
    return cudnn if _version(cudnn) >= OLDEST else None


def cudnn_words() -> str:
    """For people: which cuDNN there is."""
    package = import_cudnn()
    return "no cuDNN" if package is None else f"cuDNN {package.backend_version_string()}"


class Cudnn:
    """A handle of the library on one stream.

    Parameters
    ----------
    package : module
        ``cudnn``.
    stream : int
        A cudaStream_t.
    allocate : callable
        Gives so many bytes of memory.
    address : callable
        Where such memory begins.
    """

    def __init__(
        self,
        package: Any,
        stream: int,
        allocate: Callable[[int], Any],
        address: Callable[[Any], int],
    ) -> None:
        self._package, self._allocate, self._address = package, allocate, address
        self._handle = package.create_handle()
        package.set_stream(self._handle, stream)
        # What is recorded holds addresses: a workspace that is too small for others is kept.
        self._workspaces: list[Any] = []
        self._nbytes = 0
        self._known: dict[tuple[Convolution, str], Function | None] = {}

    def convolution(self, convolution: Convolution, precision: str) -> Function | None:
        """What convolves at the addresses of both factors and the result; None if cuDNN cannot."""
        key = convolution, precision
        if key not in self._known:
            try:
                self._known[key] = self._planned(convolution, precision)
            except DeviceError:  # too little memory: kernels need none, and later there may be some
                return None
        return self._known[key]

    def _planned(self, convolution: Convolution, precision: str) -> Function | None:
        package, handle = self._package, self._handle
        graph, uids = described(package, handle, convolution)
        modes, notes = package.heur_mode, package.numerical_note
        try:
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([modes.A, modes.FALLBACK])
            graph.deselect_numeric_notes(
                [getattr(notes, name) for name in _refused(convolution.dtype, precision)]
            )
            graph.deselect_workspace_greater_than(MOST_WORKSPACE_NBYTES)
            graph.check_support()
            graph.build_plans()
        except package.cudnnGraphNotSupportedError:
            return None
        workspace = self._workspace(graph.get_workspace_size())

        def convolve(addresses: Sequence[int]) -> None:
            graph.execute(dict(zip(uids, addresses, strict=True)), workspace, handle=handle)

        return convolve

    def _workspace(self, nbytes: int) -> int:
        """Where so many bytes are that plans use one after the other.

        They are a power of two, each larger than the one before: all together are less than twice
        the largest.
        """
        if nbytes > self._nbytes or not self._workspaces:
            rounded = 1 << (max(nbytes, 1) - 1).bit_length()
            self._workspaces.append(self._allocate(rounded))
            self._nbytes = rounded
        return self._address(self._workspaces[-1])


def _refused(dtype: str, precision: str) -> tuple[str, ...]:
    """What a plan may not do."""
    is_strict = dtype == "float32" and precision == "float32"
    return (*_NEVER, *_NOT_STRICTLY) if is_strict else _NEVER


def described(package: Any, handle: Any, convolution: Convolution) -> tuple[Any, tuple[int, ...]]:
    """A graph of cuDNN, and what its arrays are called: both factors, then the result."""
    kinds = package.data_type
    dtype = getattr(kinds, _DTYPES[convolution.dtype])
    wide = kinds.DOUBLE if convolution.dtype == "float64" else kinds.FLOAT
    graph = package.pygraph(
        name=convolution.kind,
        io_data_type=dtype,
        intermediate_data_type=wide,
        compute_data_type=wide,
        handle=handle,
    )

    def tensor(name: str, lies: Tensor, uid: int) -> Any:
        return graph.tensor(
            dim=list(lies.shape),
            stride=list(lies.strides),
            data_type=dtype,
            name=name,
            uid=uid,
        )

    first, second, result = convolution.arrays
    match convolution.kind:
        case "fprop":
            apply = functools.partial(
                graph.conv_fprop, image=tensor("x", first, 1), weight=tensor("w", second, 2)
            )
        case "dgrad":
            apply = functools.partial(
                graph.conv_dgrad, loss=tensor("y", first, 1), filter=tensor("w", second, 2)
            )
        case _:
            apply = functools.partial(
                graph.conv_wgrad, image=tensor("x", first, 1), loss=tensor("y", second, 2)
            )
    out = apply(
        pre_padding=list(convolution.before),
        post_padding=list(convolution.after),
        stride=list(convolution.stride),
        dilation=list(convolution.dilation),
        compute_data_type=wide,
        name=convolution.kind,
    )
    out.set_uid(3).set_data_type(dtype)
    out.set_dim(list(result.shape)).set_stride(list(result.strides)).set_output(True)
    return graph, (1, 2, 3)
