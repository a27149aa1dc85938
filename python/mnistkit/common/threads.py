"""How many CPU threads: the one check of ``threads``, and the cores that this process may use."""

from __future__ import annotations

import os
from typing import Any

from mnistkit.common.errors import UsageError

MAX_THREADS = 1024
"""The most threads that any backend takes; ``MNISTKIT_ENGINE_MAX_THREADS`` of the C API."""


def usable_cores() -> int:
    """The cores that this process may use, which ``taskset`` and containers can lessen."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_threads(threads: Any) -> int:
    """Return ``threads``, a number of CPU threads or 0: the runtime's choice.

    Raises :class:`UsageError` for anything but a whole number from 0 to :data:`MAX_THREADS`.
    """
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise UsageError(
            f"threads: got {threads!r}, wanted a whole number from 0 to {MAX_THREADS}; "
            f"0 leaves the choice to the runtime"
        )
    if not 0 <= threads <= MAX_THREADS:
        raise UsageError(
            f"threads: got {threads}, wanted 0 to {MAX_THREADS}; 0 leaves the choice to the runtime"
        )
    return threads
