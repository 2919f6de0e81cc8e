"""Object code: LLVM IR is compiled to it, and it is linked into this process.

Only `graphnn.compiler.native.library` calls this. What generated code looks like decides the
settings: it is SIMD already and has few, simple loops, so that a handful of passes does all that
a standard pipeline would and takes a sixth of its time.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any

import llvmlite.binding as llvm

from graphnn.compiler.native.target import Target, host_target

__all__ = ["SETTINGS", "assembly", "compile_object", "link_objects"]

_OPTIMISATION = 2
_PASSES = (
    "sroa",  # Builder.local becomes registers
    "simplify_cfg",
    "instruction_combine",
    "loop_rotate",  # one branch per turn
    "simplify_cfg",
)
# Position independent code in the small model reaches its constants relative to the program
# counter, as operands of the instructions that use them; the large model, MCJIT's default, needs
# a register with the address of each. JITLink places the sections of an object side by side and
# makes stubs for functions that are far away, so the small model is safe at any distance.
_RELOCATION, _CODE_MODEL = "pic", "small"

SETTINGS = f"{_OPTIMISATION} {_PASSES} {_RELOCATION} {_CODE_MODEL}"
"""What object code depends on besides IR and target."""

_of_thread = threading.local()
_library_numbers = count()


def compile_object(ir: str, target: Target, is_quick: bool = False) -> bytes:
    """Compile a module to object code for a processor, which need not be this one.

    Parameters
    ----------
    ir : str
    target : Target
    is_quick : bool
        Compile in a quarter of the time to code that is several times slower.

    Raises
    ------
    RuntimeError
        If the IR is not well formed.
    """
    machine = _machine_of_thread(target, 0 if is_quick else _OPTIMISATION)
    with llvm.create_context() as context, llvm.parse_assembly(ir, context) as module:
        module.verify()
        if not is_quick:
            _optimise(module, machine)
        return _emit(machine, module)


def assembly(ir: str, target: Target, is_quick: bool = False) -> str:
    """What `compile_object` compiles a module to, as text."""
    machine = _machine_of_thread(target, 0 if is_quick else _OPTIMISATION)
    with llvm.create_context() as context, llvm.parse_assembly(ir, context) as module:
        module.verify()
        if not is_quick:
            _optimise(module, machine)
        text: str = machine.emit_assembly(module)
        return text


def _optimise(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> None:
    tuning = llvm.create_pipeline_tuning_options(speed_level=1)
    with llvm.create_pass_builder(machine, tuning) as builder:
        passes = llvm.create_new_module_pass_manager()
        for name in _PASSES:
            getattr(passes, f"add_{name}_pass")()
        passes.run(module, builder)


def _emit(machine: llvm.TargetMachine, module: llvm.ModuleRef) -> bytes:
    """``machine.emit_object(module)``, but several threads at a time.

    It is four fifths of the time that compiling takes. llvmlite has a lock around every function
    of its library, which LLVM does not need where modules are in different contexts and target
    machines are different.
    """
    with llvm.ffi.OutputString() as error:
        buffer = _unlocked_emit()(machine, module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    library = llvm.ffi.lib
    try:
        start = library.LLVMPY_GetBufferStart(buffer)
        return ctypes.string_at(start, library.LLVMPY_GetBufferSize(buffer))
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


@cache
def _unlocked_emit() -> Callable[..., Any]:
    locked = llvm.ffi.lib.LLVMPY_TargetMachineEmitToMemory
    unlocked = ctypes.CDLL(llvm.ffi.lib._name).LLVMPY_TargetMachineEmitToMemory
    unlocked.argtypes, unlocked.restype = locked.argtypes, locked.restype
    return unlocked


def link_objects(objects: Sequence[bytes], names: Sequence[str]) -> Mapping[str, int]:
    """Load object code and give the addresses of functions in it.

    The code stays for the life of the process: worker threads and segments hold bare addresses,
    and what a process compiles is bounded by the kernels it uses, a few KiB each.

    Raises
    ------
    RuntimeError
        If it calls a function that the process does not have.
    """
    linking = llvm.JITLibraryBuilder()
    for each in objects:
        linking.add_object_img(each)
    for name in names:
        linking.export_symbol(name)
    linking.add_current_process()
    tracker = linking.link(_linker(), f"graphnn{next(_library_numbers)}")
    _keep_for_ever(tracker)
    return {name: tracker[name] for name in names}


@cache
def _linker() -> llvm.LLJIT:
    jit = llvm.create_lljit_compiler(_machine(host_target(), _OPTIMISATION), use_jit_link=True)
    _keep_for_ever(jit)
    return jit


def _machine_of_thread(target: Target, level: int) -> llvm.TargetMachine:
    """A machine is not for two threads at once, and making one takes as long as parsing."""
    if not hasattr(_of_thread, "machines"):
        _of_thread.machines = {}
    machines: dict[tuple[Target, int], llvm.TargetMachine] = _of_thread.machines
    if (target, level) not in machines:
        machines[target, level] = _machine(target, level)
    return machines[target, level]


def _machine(target: Target, level: int) -> llvm.TargetMachine:
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu,
        features=target.features,
        opt=level,
        reloc=_RELOCATION,
        codemodel=_CODE_MODEL,
    )


@cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _keep_for_ever(thing: object) -> None:
    """Unloading code at the end of the process could take it from under a thread."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
