"""Where things are kept on the user's machine, and how files are written whole."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnistkit.errors import UsageError


def cache_dir() -> Path:
    """The cache folder: ``$MNISTKIT_CACHE``, else one in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if named := os.environ.get("MNISTKIT_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mnistkit"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write; rename it into place when all went well.

    Whatever fails inside leaves an old ``path`` as it was and no half-written file behind.
    An unwritable folder or a full disk is a :class:`UsageError` naming the path.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write text whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cannot_write(path: Path, error: OSError) -> UsageError:
    """The error for a path that cannot be written to."""
    return UsageError(
        f"cannot write {path}: {error.strerror or error}; name a folder that can be written to "
        f"and has room"
    )
