"""Which process this is, and what becomes of predictors in one that was forked.

A child of ``fork()`` has the parent's memory and none of its other threads: a runtime that waits
for them waits for ever. So a predictor works in the process that loaded it alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from dataclasses import dataclass, field

from mnistkit.common.errors import UsageError


@dataclass(eq=False)
class Process:
    """A process: one object for each, compared by identity.

    ``runtimes`` holds those of ``torch`` and ``openvino`` that ran here, ``inherited`` those that
    ran in a process that this one was forked from: their threads are not here.
    """

    pid: int
    inherited: frozenset[str] = frozenset()
    runtimes: set[str] = field(default_factory=set)


here = Process(os.getpid())
_predictors: weakref.WeakSet[object] = weakref.WeakSet()


def enter(predictor: object) -> Process:
    """Remember a predictor that this process makes; return the process."""
    _predictors.add(predictor)
    return here


def torch_threads(threads: int) -> int:
    """The number of threads to give libtorch, 0 for its own choice.

    In a process that was forked after libtorch had come, its OpenMP pool may have lost its
    threads, and a call would wait for them for ever. There it is 1, as in the workers of PyTorch's
    DataLoader, and more are a :class:`UsageError`.
    """
    if "torch" not in here.inherited:
        return threads
    if threads > 1:
        raise UsageError(
            f"threads: got {threads}, and this process {here.pid} was forked after PyTorch "
            f"was imported: its OpenMP threads did not come along. Ask for 0 or 1, start processes "
            f"by 'spawn' or 'forkserver', or fork before PyTorch is imported"
        )
    return 1


def _in_the_child() -> None:
    global here  # noqa: PLW0603 - a name that costs a call next to nothing to compare with
    ran = here.inherited | here.runtimes
    if "torch" in sys.modules:
        ran |= {"torch"}
    here = Process(os.getpid(), ran)
    # What the runtimes hold is never destroyed here: some wait for their threads then, at the
    # latest when the interpreter ends. The memory is the parent's, shared until it is written to.
    for predictor in list(_predictors):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(vars(predictor)))
    _predictors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_the_child)
