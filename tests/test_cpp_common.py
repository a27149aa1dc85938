"""The C++ that reads artifacts, built and tested without any runtime: it needs a compiler alone."""

from __future__ import annotations

import pytest
from cpp_build import BUILD, ROOT, build, run

CASES = ("sha256", "json", "artifact", "golden")
ALONE = (
    "-DMNISTKIT_BUILD_TESTS=ON",
    "-DMNISTKIT_BUILD_RUNNER=OFF",
    "-DMNISTKIT_BUILD_ENGINE=OFF",
    "-DMNISTKIT_BUILD_APPS=OFF",
    "-DMNISTKIT_WARNINGS_AS_ERRORS=ON",
)


@pytest.mark.parametrize("case", CASES)
def test_without_a_runtime(case: str) -> None:
    tree = build(ROOT, BUILD / "cpp-common", ALONE, [f"{case}_test"])
    run(next(path for path in tree.rglob(f"{case}_test") if path.is_file()))
