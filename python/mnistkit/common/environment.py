"""What a figure was measured on: package versions, processor, threads, operating system."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, mnistkit and those of the named packages that are installed."""
    found = {"python": platform.python_version(), "mnistkit": version_of("mnistkit") or "source"}
    return found | {name: text for name in packages if (text := version_of(name))}


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def environment(*packages: str) -> dict[str, object]:
    """The machine and the versions, for the head of a figures file."""
    return {
        "processor": processor(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "versions": versions(*packages),
    }
