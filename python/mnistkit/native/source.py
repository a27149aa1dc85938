"""The C++ SDK's sources: where they lie, and a hash that names what is built from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mnistkit.common.errors import MissingError


def source_dir() -> Path:
    """The SDK's root, with its ``CMakeLists.txt``: the checkout, or the copy in the package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    root = checkout if (checkout / "cpp" / "torch").is_dir() else package / "_sdk"
    if not (root / "CMakeLists.txt").is_file():
        raise MissingError(
            f"the C++ SDK is not in this installation (looked in {root}); install it again with: "
            f"pip install --force-reinstall --no-deps mnistkit"
        )
    return root


def cmake_dir() -> Path:
    """The folder for ``-Dmnistkit_DIR``, with ``mnistkit-config.cmake``."""
    return source_dir() / "cpp" / "cmake"


def include_dir() -> Path:
    """The folder of the public headers, for ``-I``."""
    return source_dir() / "cpp" / "include"


def source_hash(folders: Iterable[str], also: str = "") -> str:
    """16 hex digits of the sources in these folders of ``cpp/``, and of ``also``."""
    root = source_dir()
    files = [root / "CMakeLists.txt"]
    for folder in folders:
        files += sorted(path for path in (root / "cpp" / folder).rglob("*") if path.is_file())
    digest = hashlib.sha256(also.encode())
    for path in files:
        digest.update(b"\0" + path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
