"""Which flavour and architecture is built for: logic, with the machine pretended."""

from __future__ import annotations

from typing import Any

import pytest
from mnistkit.common.errors import MissingError, UsageError
from mnistkit.tensorrt import builder as tensorrt
from mnistkit.tensorrt import flavor, probe
from mnistkit.tensorrt.builder import BuildOptions

pytestmark = pytest.mark.usefixtures("no_gpu_here")


@pytest.mark.parametrize("arch", ["sm89", "89", "8", "8.9 ", "", "8.99"])
def test_an_architecture_that_is_none_is_a_wrong_call(arch: str) -> None:
    with pytest.raises(UsageError, match=r"such as 8\.9"):
        BuildOptions(gpu_archs=(arch,))


def pretend(monkeypatch: pytest.MonkeyPatch, installed: set[str], gpu: probe.Gpu | None) -> None:
    monkeypatch.setattr(flavor, "find_spec", lambda name: object() if name in installed else None)
    found = probe.Driver("13.0", (gpu,)) if gpu else "there is no NVIDIA driver here (test)"
    monkeypatch.setattr(probe, "_examine", lambda: found)


H200 = probe.Gpu(0, "NVIDIA H200", "9.0", 132)
RTX4090 = probe.Gpu(0, "NVIDIA GeForce RTX 4090", "8.9", 128)
BOTH = {"tensorrt", "tensorrt_rtx"}


@pytest.mark.parametrize(
    ("installed", "gpu", "options", "expected"),
    [
        (BOTH, H200, {}, [("tensorrt", "9.0")]),
        (BOTH, None, {}, [("tensorrt_rtx", a) for a in ("8.6", "8.9", "12.0")]),
        (BOTH, H200, {"gpu_archs": ("8.6",)}, [("tensorrt_rtx", "8.6")]),
        (BOTH, H200, {"gpu_archs": ("9.0",)}, [("tensorrt", "9.0")]),
        ({"tensorrt_rtx"}, RTX4090, {}, [("tensorrt_rtx", "8.9")]),
        ({"tensorrt_rtx"}, None, {"gpu_archs": ("8.9", "8.9")}, [("tensorrt_rtx", "8.9")]),
        (BOTH, RTX4090, {"flavor": "tensorrt_rtx"}, [("tensorrt_rtx", "8.9")]),
    ],
)
def test_what_is_built_where(
    monkeypatch: pytest.MonkeyPatch,
    installed: set[str],
    gpu: probe.Gpu | None,
    options: dict[str, Any],
    expected: list[tuple[str, str]],
) -> None:
    pretend(monkeypatch, installed, gpu)
    found = tensorrt.targets(BuildOptions(**options))
    assert [(target.flavor.name, target.arch) for target in found] == expected


@pytest.mark.parametrize(
    ("installed", "gpu", "options", "error", "message"),
    [
        (set(), None, {}, MissingError, "pip install tensorrt-cu13.*pip install tensorrt-rtx"),
        ({"tensorrt"}, None, {}, MissingError, "mnistkit build-engine o --trt-flavor tensorrt"),
        (set(), None, {"flavor": "tensorrt"}, MissingError, "pip install tensorrt-cu13.*no NVIDIA"),
        (set(), H200, {"flavor": "tensorrt"}, MissingError, "install it with: pip install"),
        (set(), None, {"flavor": "tensorrt_rtx"}, MissingError, "pip install tensorrt-rtx"),
        ({"tensorrt_rtx"}, H200, {}, MissingError, r"NVIDIA H200, 9\.0.*pip install tensorrt-cu13"),
        ({"tensorrt"}, H200, {"gpu_archs": ("8.6",)}, UsageError, r"alone, not for 8\.6"),
        ({"tensorrt_rtx"}, None, {"gpu_archs": ("9.0",)}, UsageError, r"does not build for 9\.0"),
    ],
)
def test_what_cannot_be_built_names_the_fix(
    monkeypatch: pytest.MonkeyPatch,
    installed: set[str],
    gpu: probe.Gpu | None,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    pretend(monkeypatch, installed, gpu)
    with pytest.raises(error, match=message):
        tensorrt.targets(BuildOptions(**options), "o")


def test_an_unknown_flavour_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="known: auto, tensorrt, tensorrt_rtx"):
        BuildOptions(flavor="trt")
