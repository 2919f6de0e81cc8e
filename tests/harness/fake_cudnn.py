"""What graphnn uses of the package ``cudnn``, on the host's memory.

A graph holds what it is told; what it computes is what a `Convolution` says, by PyTorch.
"""

import ctypes
from types import SimpleNamespace

import numpy as np
import torch

from graphnn.compiler.cuda.code import Convolution, Tensor
from graphnn.core.dtypes import as_dtype

__all__ = ["FakeCudnn", "convolve"]


def convolve(convolution, addresses):
    """Compute a convolution, or one of its gradients, in memory."""
    first, second, result = (
        array_of(address, convolution.dtype, lies)
        for address, lies in zip(addresses, convolution.arrays, strict=True)
    )
    result[...] = value_of(convolution, first, second).astype(result.dtype)


def array_of(address, dtype, lies):
    """The elements that a tensor describes."""
    kind = as_dtype(dtype)
    reach = sum(by * (size - 1) for size, by in zip(lies.shape, lies.strides, strict=True)) + 1
    assert min(lies.strides) > 0
    memory = (ctypes.c_char * (reach * kind.itemsize)).from_address(address)
    strides = [by * kind.itemsize for by in lies.strides]
    return np.ndarray(lies.shape, kind, memory, 0, strides)


def value_of(convolution, first, second):
    """A convolution of two arrays in float64, or its derivative."""
    first, second = (
        torch.tensor(np.ascontiguousarray(each, np.float64)) for each in (first, second)
    )
    match convolution.kind:
        case "fprop":
            return forward(convolution, first, second).numpy()
        case "dgrad":
            unknown = torch.zeros(convolution.x.shape, dtype=torch.float64, requires_grad=True)
            y = forward(convolution, unknown, second)
            return torch.autograd.grad(y, unknown, first)[0].numpy()
        case "wgrad":
            unknown = torch.zeros(convolution.w.shape, dtype=torch.float64, requires_grad=True)
            y = forward(convolution, first, unknown)
            return torch.autograd.grad(y, unknown, second)[0].numpy()


def forward(convolution, x, w):
    """What PyTorch makes of an array and filters."""
    around = zip(reversed(convolution.before), reversed(convolution.after), strict=True)
    assert min(*convolution.before, *convolution.after) >= 0
    padded = torch.nn.functional.pad(x, [each for pair in around for each in pair])
    function = {4: torch.nn.functional.conv2d, 5: torch.nn.functional.conv3d}[x.ndim]
    y = function(
        padded,
        w,
        stride=convolution.stride,
        dilation=convolution.dilation,
        groups=x.shape[1] // w.shape[1],
    )
    assert tuple(y.shape) == convolution.y.shape
    return y


NOTES = (
    "DOWN_CONVERT_INPUTS",
    "FFT",
    "NONDETERMINISTIC",
    "REDUCED_PRECISION_REDUCTION",
    "STRICT_NAN_PROP",
    "TENSOR_CORE",
    "WINOGRAD",
    "WINOGRAD_TILE_13x13",
    "WINOGRAD_TILE_4x4",
    "WINOGRAD_TILE_6x6",
)
"""Names in ``cudnn.numerical_note``."""


class GraphNotSupportedError(Exception):
    """No plan can do what is asked for."""


class FakeTensor:
    """An array of a graph."""

    def __init__(self, dim=None, stride=None, data_type=None, name="", uid=None):
        self.dim, self.stride, self.data_type, self.name, self.uid = (
            dim,
            stride,
            data_type,
            name,
            uid,
        )
        self.is_output = False

    def set_uid(self, uid):
        self.uid = uid
        return self

    def set_data_type(self, dtype):
        self.data_type = dtype
        return self

    def set_dim(self, dim):
        self.dim = dim
        return self

    def set_stride(self, stride):
        self.stride = stride
        return self

    def set_output(self, value):
        self.is_output = value
        return self


class FakeCudnn:
    """The module ``cudnn``.

    Attributes
    ----------
    cupy : FakeCupy
        Whose streams do the work.
    graphs : list
        All that were made.
    supports : callable
        Whether there is a plan for a graph.
    """

    __version__ = "1.32.0"
    data_type = SimpleNamespace(
        HALF="float16", BFLOAT16="bfloat16", FLOAT="float32", DOUBLE="float64"
    )
    heur_mode = SimpleNamespace(A="A", FALLBACK="FALLBACK")

    def __init__(self, cupy):
        self.cupy, self.graphs, self.streams = cupy, [], {}
        self.supports = lambda graph: True
        vars(self).update(cudnnGraphNotSupportedError=GraphNotSupportedError)
        self.numerical_note = SimpleNamespace(**{name: name for name in NOTES})

    def create_handle(self):
        return object()

    def set_stream(self, handle, stream):
        self.streams[handle] = stream

    def pygraph(self, **options):
        self.graphs.append(FakeGraph(self, **options))
        return self.graphs[-1]


class FakeGraph:
    """One convolution."""

    workspace_nbytes = 1000

    def __init__(self, fake, name, io_data_type, intermediate_data_type, compute_data_type, handle):
        self.fake, self.handle, self.dtype = fake, handle, io_data_type
        self.compute = compute_data_type
        self.notes, self.done = [], []

    def tensor(self, dim, stride=None, data_type=None, name="", uid=None):
        return FakeTensor(dim, stride, data_type, name, uid)

    def conv_fprop(self, image, weight, **options):
        return self._node("fprop", {"x": image, "w": weight}, "y", **options)

    def conv_dgrad(self, loss, filter, **options):
        return self._node("dgrad", {"y": loss, "w": filter}, "x", **options)

    def conv_wgrad(self, image, loss, **options):
        return self._node("wgrad", {"x": image, "y": loss}, "w", **options)

    def _node(
        self,
        kind,
        inputs,
        result,
        pre_padding,
        post_padding,
        stride,
        dilation,
        compute_data_type,
        name="",
    ):
        made = FakeTensor()
        self.kind, self.tensors = kind, inputs | {result: made}
        self.numbers = [tuple(each) for each in (stride, dilation, pre_padding, post_padding)]
        return made

    def validate(self):
        assert all(each.data_type == self.dtype for each in self.tensors.values())
        assert sum(each.is_output for each in self.tensors.values()) == 1
        self.done.append("validate")

    def build_operation_graph(self):
        self.done.append("build_operation_graph")

    def create_execution_plans(self, heuristics=None):
        self.done.append("create_execution_plans")

    def deselect_numeric_notes(self, notes):
        self.notes += notes

    def deselect_workspace_greater_than(self, workspace_limit):
        self.limit = workspace_limit

    def check_support(self):
        if not self.fake.supports(self):
            raise GraphNotSupportedError("no plan")
        self.done.append("check_support")

    def build_plans(self):
        assert self.done == [
            "validate",
            "build_operation_graph",
            "create_execution_plans",
            "check_support",
        ]
        self.done.append("build_plans")

    def get_workspace_size(self):
        assert self.done[-1] == "build_plans"
        return self.workspace_nbytes

    @property
    def convolution(self):
        """What it was told, as a description."""
        arrays = {
            name: Tensor(tuple(each.dim), tuple(each.stride)) for name, each in self.tensors.items()
        }
        return Convolution(
            self.kind, self.dtype, arrays["x"], arrays["w"], arrays["y"], *self.numbers
        )

    def execute(self, tensor_dict, workspace=None, handle=None):
        assert handle is self.handle
        assert self.done[-1] == "build_plans"
        convolution = self.convolution
        uids = {name: each.uid for name, each in self.tensors.items()}
        order = {"fprop": "xwy", "dgrad": "ywx", "wgrad": "xyw"}[self.kind]
        addresses = [tensor_dict[uids[name]] for name in order]
        assert all(type(each) is int for each in (*addresses, workspace))

        def work():
            memory = (ctypes.c_char * self.workspace_nbytes).from_address(workspace)
            memory[: self.workspace_nbytes] = b"\xff" * self.workspace_nbytes
            convolve(convolution, addresses)

        (stream,) = (
            each for each in self.fake.cupy.all_streams.values()
            if each.ptr == self.fake.streams[self.handle]
        )  # fmt: skip
        stream.give(work)
