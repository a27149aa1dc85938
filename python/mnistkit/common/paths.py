"""Where things are kept on the user's machine, and how files are written whole."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mnistkit.common.errors import UsageError

# Names below these stand for devices and open files.
_DEVICES = {Path(name) for name in ("/dev", "/dev/fd", "/proc/self/fd")}


def cache_dir() -> Path:
    """The cache folder: ``$MNISTKIT_CACHE``, else one in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    A user without a home (``HOME`` is not set and the system does not know the user, as in many
    containers) has one in the folder for temporary files, which is made here and is the user's
    alone. :class:`UsageError` where it cannot be: compiled libraries are loaded from it.
    """
    if named := os.environ.get("MNISTKIT_CACHE"):
        return Path(named)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "mnistkit"
    try:
        return Path.home() / ".cache" / "mnistkit"
    except RuntimeError:
        return _homeless_cache()


def _homeless_cache() -> Path:
    user = os.getuid()
    remedy = "name a cache folder of your own with MNISTKIT_CACHE"
    why = f"HOME is not set and user {user} has no home folder"
    try:
        path = Path(tempfile.gettempdir()) / f"mnistkit-{user}"
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise UsageError(f"{why}, and none can be made ({error}): {remedy}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user or found.st_mode & 0o022:
        raise UsageError(f"{why}, and others can write to {path}: {remedy}")
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write; rename it into place when all went well.

    Whatever fails inside leaves an old ``path`` as it was and no half-written file behind.
    An unwritable folder or a full disk is a :class:`UsageError` naming the path. A device or a pipe
    (``/dev/stdout``, ``/dev/full``) is written to, not replaced.
    """
    try:
        device = _is_device(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    if device:
        with _into_device(path) as temporary:
            yield temporary
        return
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


def _is_device(path: Path) -> bool:
    return path.absolute().parent in _DEVICES or not (
        path.is_file() or path.is_dir() or not path.exists()
    )


@contextmanager
def _into_device(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mnistkit-") as folder:
        temporary = Path(folder) / f"written{path.suffix}"
        yield temporary
        try:
            with path.open("ab") as device:
                device.write(temporary.read_bytes())
        except OSError as error:
            raise cannot_write(path, error) from error


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
