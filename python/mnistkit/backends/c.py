"""The C export, compiled with this machine's C compiler and run in this process.

It shows that the file which goes to a device gives the reference's answers. It is the device's
code in plain C, so its speed here says nothing of a device.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnistkit.artifact.folder import Artifact
from mnistkit.backends.base import Backend, Predictor
from mnistkit.backends.tolerances import EXACT, SUMS
from mnistkit.common.errors import ArtifactError, MissingError
from mnistkit.common.images import Images, Logits
from mnistkit.common.threads import usable_cores

_VARIABLE = "CC"
_COMPILERS = ("cc", "gcc", "clang")
_FLAGS = ("-O2", "-std=c99", "-fPIC", "-shared")
_TIMEOUT_S = 120.0
_LOG_LINES = 12
_LEAST = 32  # images that a thread is worth
_DEFINE = re.compile(r"^#define (\w+)_SCRATCH (\d+)\b", re.MULTILINE)
_FUNCTION = re.compile(r"^void (\w+_run)\(", re.MULTILINE)
# Compiled as a file of its own, on the header alone, as an application would be.
_CALLER = """\
#include "{header}"
#include <stddef.h>
void mnistkit_check(const uint8_t *images, size_t count, float *logits, void *scratch) {{
  size_t i;
  for (i = 0; i < count; ++i) {function}(images + i * 784, logits + i * 10, scratch);
}}
"""


def compiler() -> list[str] | None:
    """The C compiler as a command: ``$CC`` where it is set, else the first on PATH; or None."""
    named = shlex.split(os.environ.get(_VARIABLE, ""))
    if named:
        return named if shutil.which(named[0]) else None
    found = (shutil.which(name) for name in _COMPILERS)
    return next(([path] for path in found if path), None)


@dataclass(frozen=True)
class _Export:
    """What the header declares: the function's name and the bytes of scratch."""

    function: str
    scratch: int

    @classmethod
    def read(cls, path: Path) -> _Export:
        text = path.read_text(encoding="utf-8", errors="replace")
        define, function = _DEFINE.search(text), _FUNCTION.search(text)
        if define is None or function is None:
            raise ArtifactError(
                f"{path}: declares no ..._run and ..._SCRATCH, so it is no C export of mnistkit; "
                f"export again"
            )
        return cls(function[1], int(define[2]))


class _CPredictor(Predictor):
    """Holds no memory but the code, so threads may share it: each call has its own scratch."""

    def __init__(self, call: Callable[..., None], scratch: int, threads: int) -> None:
        self._call, self._scratch, self._threads = call, scratch, threads

    def _run(self, images: Images) -> Logits:
        logits = np.empty((len(images), 10), np.float32)
        parts = min(self._threads, max(1, len(images) // _LEAST))
        if parts == 1:
            self._into(images, logits)
            return logits
        with ThreadPoolExecutor(parts) as pool:  # ctypes lets go of the interpreter's lock
            spans = np.array_split(np.arange(len(images)), parts)
            jobs = [
                pool.submit(self._into, images[s[0] : s[-1] + 1], logits[s[0] : s[-1] + 1])
                for s in spans
            ]
        for job in jobs:
            job.result()
        return logits

    def _into(self, images: Images, logits: Logits) -> None:
        scratch = self._room()
        self._call(images.ctypes.data, len(images), logits.ctypes.data, scratch.ctypes.data)

    def _room(self) -> NDArray[np.float32]:
        return np.empty(-(-self._scratch // 4), np.float32)  # aligned to 4, as the header wants

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Run with the pointers, the scratch and the output array there already."""
        logits, scratch = np.empty((len(images), 10), np.float32), self._room()
        pointers = images.ctypes.data, len(images), logits.ctypes.data, scratch.ctypes.data
        call = functools.partial(self._call, *pointers)

        def run(_alive: Any = (images, scratch)) -> Logits:  # the pointers own nothing
            call()
            return logits

        return run


class CBackend(Backend):
    """Compiles the artifact's C file and header in a folder of its own, which is removed."""

    name = "c"
    description = "the C export, compiled here"
    format = "c"
    precisions = ("fp32", "int8")
    tolerances = {"fp32": SUMS, "int8": EXACT}  # noqa: RUF012
    is_timed = False
    int8_is_exact = True

    def available(self) -> str | None:
        """None where there is a C compiler."""
        if compiler():
            return None
        if named := os.environ.get(_VARIABLE):
            return f"${_VARIABLE} names {named}, and there is no such program; unset it, or mend it"
        return (
            f"there is no C compiler (looked for {', '.join(_COMPILERS)}); install one: Debian: "
            f"apt-get install gcc; macOS: xcode-select --install; or name one in ${_VARIABLE}"
        )

    def _open(self, artifact: Artifact, precision: str, device: str, threads: int) -> Predictor:
        """Compile and load; ``threads`` 0 takes one for each core that this process may use."""
        source = artifact.file(self.format, precision)
        header = artifact.file(f"{self.format}.h", precision)
        declared = _Export.read(header)
        if _Export.read(source) != declared:
            raise ArtifactError(f"{source}: declares another net than {header.name}; export again")
        return _CPredictor(
            _compile(source, header, declared.function),
            declared.scratch,
            threads or usable_cores(),
        )


def _compile(source: Path, header: Path, function: str) -> Callable[..., None]:
    """The function ``(images, count, logits, scratch)`` of the compiled files."""
    command = compiler()
    if command is None:
        raise MissingError(f"backend 'c' is not available: {BACKEND.available()}")
    with tempfile.TemporaryDirectory(prefix="mnistkit-c-") as parent:
        folder = Path(parent)
        for path in (source, header):
            shutil.copyfile(path, folder / path.name)
        caller = folder / "mnistkit_check.c"
        caller.write_text(_CALLER.format(header=header.name, function=function))
        library = folder / "model.so"
        words = [*command, *_FLAGS, "-o", library.name, source.name, caller.name]
        try:
            done = subprocess.run(
                words,
                cwd=folder,
                env={**os.environ, "TMPDIR": parent, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ArtifactError(
                f"{source}: {' '.join(command)} did not end in {_TIMEOUT_S:g} s; export again"
            ) from error
        log = "\n".join(done.stderr.strip().splitlines()[:_LOG_LINES])
        if done.returncode:
            raise ArtifactError(
                f"{source}: {' '.join(command)} does not compile it (exit code "
                f"{done.returncode}); export again\n{log}"
            )
        try:
            # Loaded with all its names resolved: one that is missing is an error here.
            loaded = ctypes.CDLL(str(library), mode=os.RTLD_NOW)
        except OSError as error:
            raise ArtifactError(f"{source}: cannot be loaded: {error}; export again") from error
    call = loaded.mnistkit_check
    call.restype = None
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]
    made: Callable[..., None] = call
    return made


BACKEND = CBackend()
