"""What a machine must have before programs run on its GPU; a sentence for each thing missing."""

from __future__ import annotations

import os
from typing import Any

from graphnn.compiler.cuda.cudnn import cudnn_words
from graphnn.compiler.cuda.libraries import HOW_TO_INSTALL, load_library
from graphnn.compiler.cuda.nvrtc import Nvrtc
from graphnn.core.errors import DeviceError, MissingPackageError
from graphnn.core.text import size_text

__all__ = ["gpu_words", "import_cupy", "require_gpu"]

OLDEST = 14
"""The first major version of CuPy whose interfaces are used."""


def import_cupy() -> Any:
    """CuPy; importing it needs neither a GPU nor a driver.

    Raises
    ------
    MissingPackageError
        If it is not installed, cannot be loaded, or is too old.
    """
    try:
        import cupy
    except ImportError as error:
        is_absent = isinstance(error, ModuleNotFoundError) and error.name == "cupy"
        raise MissingPackageError(
            'backend="cupy" needs CuPy, which is not installed'
            if is_absent
            else f'backend="cupy" needs CuPy, which cannot be loaded: {error}',
            hint=HOW_TO_INSTALL,
            where="",
        ) from None
    if int(cupy.__version__.partition(".")[0]) < OLDEST:
        raise MissingPackageError(
            f'backend="cupy" needs CuPy {OLDEST} or newer, this is {cupy.__version__}',
            hint=HOW_TO_INSTALL,
            where="",
        )
    return cupy


def require_gpu() -> Any:
    """CuPy, once it is known that there is a GPU that it can use.

    Raises
    ------
    MissingPackageError
        As `import_cupy`.
    DeviceError
        For no driver, one that is too old, and no GPU.
    """
    cupy = import_cupy()
    runtime = cupy.cuda.runtime
    driver, built_for = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        raise DeviceError(
            'backend="cupy" needs an NVIDIA driver, and there is none',
            hint='install one, or use backend="numpy"',
            where="",
        )
    if driver // 1000 < built_for // 1000:
        raise DeviceError(
            f"the NVIDIA driver is made for CUDA {_version(driver)} and older, "
            f"CuPy for CUDA {_version(built_for)}",
            hint=f"install a newer driver, or the CuPy that fits it: {HOW_TO_INSTALL}",
            where="",
        )
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if "NoDevice" not in str(error):
            raise DeviceError(
                f"the GPU cannot be used: {error}", hint="does nvidia-smi list it?", where=""
            ) from None
        count = 0
    if count == 0:
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        raise DeviceError(
            "the NVIDIA driver knows no GPU"
            + ("" if hidden is None else f": CUDA_VISIBLE_DEVICES is {hidden!r}"),
            hint='nvidia-smi lists what there is; use backend="numpy" meanwhile',
            where="",
        )
    return cupy


def gpu_words() -> str:
    """The GPU that programs would run on, or why there is none."""
    try:
        cupy = require_gpu()
        version = ".".join(map(str, Nvrtc().version))
        load_library("cublas")
    except (MissingPackageError, DeviceError) as error:
        return f"none: {error.what}"
    runtime, device = cupy.cuda.runtime, cupy.cuda.Device()
    name = runtime.getDeviceProperties(device.id)["name"].decode()
    _, total = runtime.memGetInfo()
    driver = _version(runtime.driverGetVersion())
    libraries = (
        f"NVRTC {version}, {'with' if _has_cublaslt() else 'without'} cuBLASLt, {cudnn_words()}"
    )
    return f"{name}, {size_text(total)}; driver for CUDA {driver}, {libraries}"


def _has_cublaslt() -> bool:
    """Whether products may have epilogues; without it, kernels apply them."""
    try:
        load_library("cublasLt")
    except MissingPackageError:
        return False
    return True


def _version(number: int) -> str:
    """13020 as CUDA writes it: 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"
