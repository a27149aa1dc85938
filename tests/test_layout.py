"""The folders of the package are the road of the data: imports go one way, the lazy ones too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# In the order of imports (docs: CONTRIBUTING.md). `pretrained` holds weights and no code.
ORDER = (
    "common",
    "data",
    "nets",
    "artifact",
    "runs",
    "tensorrt",
    "training",
    "quantization",
    "native",
    "export",
    "pictures",
    "backends",
    "measure",
    "api",
    "cli",
)
ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "mnistkit"


def folder_of(module: str) -> str | None:
    """The folder of ``mnistkit.folder.module``, None for the package itself and for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "mnistkit" and len(parts) > 1 and parts[1] in ORDER else None


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Line and module of each import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def upward(folder: str, source: str) -> list[str]:
    """What a file of that folder imports from folders after it."""
    found = []
    for line, module in imported(source):
        other = folder_of(module)
        if other is not None and ORDER.index(other) > ORDER.index(folder):
            found.append(f"line {line}: {module}")
    return found


def files_of(folder: str) -> list[Path]:
    return sorted((ROOT / "export" if folder == "export" else PACKAGE / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ORDER)
def test_no_import_goes_up(folder: str) -> None:
    files = files_of(folder)
    assert files
    found = [f"{file.name} {fault}" for file in files for fault in upward(folder, file.read_text())]
    assert not found


def test_an_upward_import_is_found() -> None:
    lazily = "def f():\n    from mnistkit.cli import app\n"
    assert upward("data", lazily) == ["line 2: mnistkit.cli.app"]
    assert upward("data", "import mnistkit.backends.base") == ["line 1: mnistkit.backends.base"]
    assert upward("data", "from mnistkit import backends") == ["line 1: mnistkit.backends"]
    assert upward("data", "from mnistkit.common import paths\nimport numpy") == []
    assert upward("export", "from mnistkit.measure.parity import verify")


def test_every_folder_has_its_place() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders == set(ORDER) - {"export"} | {"pretrained"}
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "__main__.py"}
