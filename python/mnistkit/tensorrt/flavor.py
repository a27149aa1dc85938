"""The two TensorRT libraries: what each is called, how it is installed, and its import."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mnistkit.common.errors import MissingError, UsageError


@dataclass(frozen=True)
class Flavor:
    """One TensorRT library.

    ``name`` is that of the Python module, of the backend and of the files' format; ``tag`` stands
    before the major version in file names; ``archs`` are the compute capabilities that it builds
    for without a GPU, in order, and ``default_archs`` those that it builds for when none is named.
    Without ``archs`` a plan is built on the GPU that it will run on.
    """

    name: str
    title: str
    package: str
    tag: str
    archs: tuple[str, ...] = ()
    default_archs: tuple[str, ...] = ()

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install {self.package}"

    def missing(self) -> str | None:
        """Why it cannot be imported, or None. Imports nothing."""
        if find_spec(self.name):
            return None
        return f"{self.title} is not installed; install it with: {self.install}"

    def load(self) -> Any:
        """Import the library, or raise :class:`MissingError`."""
        if reason := self.missing():
            raise MissingError(reason)
        try:
            return importlib.import_module(self.name)
        except (ImportError, OSError) as error:
            raise MissingError(
                f"{self.title} is installed but cannot be imported ({error}); "
                f"install it again with: {self.install}"
            ) from error


FLAVORS = {
    flavor.name: flavor
    for flavor in (
        Flavor("tensorrt", "TensorRT", "tensorrt-cu13", "trt"),
        Flavor(
            "tensorrt_rtx",
            "TensorRT for RTX",
            "tensorrt-rtx",
            "rtx",
            ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1"),
            ("8.6", "8.9", "12.0"),
        ),
    )
}


def get(name: str) -> Flavor:
    """The flavour of that name, or :class:`UsageError`."""
    if name not in FLAVORS:
        raise UsageError(f"unknown TensorRT flavour {name!r}; known: auto, {', '.join(FLAVORS)}")
    return FLAVORS[name]


def make_logger(trt: Any) -> Any:
    """Return a logger for the library that keeps warnings and errors in ``messages``."""

    class Collector(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.WARNING):
                self.messages.append(message)

    return Collector()
