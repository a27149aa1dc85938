"""What surrounds every program: standard streams that do not fail, and errors as messages.

A terminal may know no more than ASCII, a pipe may be closed by its reader, a disk may be full. None
of these is worth a traceback. :func:`program` runs a program's main function with all of that
looked after; :func:`printable` is for text whose width matters, such as a table's cells.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from mnistkit.common.errors import MnistkitError, UsageError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as in a shell."""

_REPLACE = "mnistkit.replace"
# What the program itself prints beyond ASCII, in plain characters.
_PLAIN = {"±": "+/-", "µ": "u", "μ": "u", "Δ": "d", "…": "...", "·": "-", "×": "x", "²": "2"}
_PLAIN |= {"–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "→": "->", "≥": ">="}
_PLAIN |= {"━": "-", "╸": "-", "╺": "-", "─": "-", "│": "|", "•": "*"}


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in plain characters, or as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter) or _escape(letter) for letter in letters), error.end


def _escape(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not text
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("ascii", "backslashreplace").decode()


codecs.register_error(_REPLACE, _replace)


def printable(text: str) -> str:
    """The text as standard output will show it."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return text.encode(encoding, _REPLACE).decode(encoding)


def program(main: Callable[[], object]) -> NoReturn:
    """Run a program's main function, and end the process with its exit code.

    Our own errors and the system's end as a line on standard error. A closed pipe is no error: what
    is written to it from then on is dropped. Ctrl-C gives 130.
    """
    guard_streams()
    code: object = None
    try:
        try:
            code = main()
        except SystemExit as done:
            code = done.code
        finish()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except MnistkitError as error:
        code = error.exit_code
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        code = UsageError.exit_code
        print(f"error: {system_message(error)}", file=sys.stderr)
    sys.exit(code if isinstance(code, (int, str)) else 0)


def finish() -> None:
    """Write out what standard output still holds; :class:`UsageError` where it cannot be."""
    sys.stdout.flush()


def system_message(error: OSError) -> str:
    """An error of the system in one line, with the path where there is one."""
    where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    return f"{where}{error.strerror or error}; check the path, its permissions and the free space"


def guard_streams() -> None:
    """Make standard output and error take any text, a closed pipe and a full disk."""
    if isinstance(getattr(sys.stdout, "buffer", None), _Buffered):
        return
    sys.stdout = _guarded(sys.stdout, 1)
    sys.stderr = _guarded(sys.stderr, 2)


def _guarded(stream: Any, descriptor: int) -> Any:
    if stream is None:  # closed by whoever started us
        return open(os.devnull, "w", encoding="utf-8")
    try:
        if stream.fileno() != descriptor or not isinstance(stream, io.TextIOWrapper):
            return stream
    except (OSError, ValueError):
        return stream  # captured: no file is behind it
    stream.flush()
    return io.TextIOWrapper(
        _Buffered(_Guarded(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors=_REPLACE,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Buffered(io.BufferedWriter):
    """Tells that a stream is guarded."""


class _Guarded(io.FileIO):
    """A standard stream that is silent once its reader is gone."""

    def write(self, data: Any, /) -> Any:
        try:
            return super().write(data)
        except OSError as error:
            self._silence()
            if error.errno == errno.EPIPE or self.fileno() == 2:
                return memoryview(data).nbytes
            raise UsageError(
                f"cannot write to standard output: {error.strerror}; "
                "write to a place that has room and can be written to"
            ) from error

    def _silence(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
