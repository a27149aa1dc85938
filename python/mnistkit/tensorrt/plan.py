"""The JSON beside a TensorRT plan: what the plan was built for, and why one is refused.

A plan runs on one GPU architecture, with one flavour and version of TensorRT. TensorRT finds out
late and says little, so all of it is checked here before TensorRT sees a byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from mnistkit.common.errors import ArtifactError
from mnistkit.common.paths import cannot_write, replacing, write_text
from mnistkit.tensorrt.flavor import FLAVORS, Flavor

SCHEMA = 1
SUFFIX = ".engine"
INPUT, OUTPUT = "input", "logits"


def plan_name(precision: str, arch: str, flavor: Flavor, version: str) -> str:
    """The plan's file name: ``model-int8-sm90-trt11.engine``."""
    major = version.partition(".")[0]
    return f"model-{precision}-sm{arch.replace('.', '')}-{flavor.tag}{major}{SUFFIX}"


def info_path(plan: Path) -> Path:
    """Where the JSON of a plan lies: beside it, ``.json`` in place of ``.engine``."""
    return plan.with_suffix(".json")


@dataclass(frozen=True)
class PlanInfo:
    """What is known of a plan.

    ``gpu_arch`` is the compute capability (``9.0``), ``gpu`` the name of the GPU that it was built
    on (None: built without one). ``profile`` holds the batch sizes ``min``, ``opt`` and ``max``.
    ``layers`` are the network's convolutions with the precision of each, ``engine_layers`` those
    of the built engine with the types of what they read, where the builder lists them.
    """

    precision: str
    flavor: str
    version: str
    gpu_arch: str
    gpu: str | None
    sha256: str
    size: int
    onnx: Mapping[str, str]
    profile: Mapping[str, int]
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    layers: tuple[Mapping[str, Any], ...]
    engine_layers: tuple[Mapping[str, Any], ...] | None
    build_seconds: float
    reproducible: bool
    mnistkit: str

    @property
    def name(self) -> str:
        """The plan's file name."""
        return plan_name(self.precision, self.gpu_arch, FLAVORS[self.flavor], self.version)

    def rebuild_command(self, folder: Path | str) -> str:
        """The command that builds this plan again, on the machine that is to run it."""
        return rebuild_command(folder, self.precision, self.flavor)

    def to_json(self) -> str:
        """The text of the JSON file."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def read(cls, plan: Path) -> Self:
        """Read the JSON beside ``plan``, or raise :class:`ArtifactError`."""
        path = info_path(plan)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            schema = data.pop("schema")
            if schema != SCHEMA:
                raise ArtifactError(
                    f"{path}: schema {schema}, this mnistkit reads {SCHEMA}; "
                    f"build the plan again with: mnistkit build-engine {path.parent}"
                )
            for key in ("inputs", "outputs", "layers", "engine_layers"):
                data[key] = None if data[key] is None else tuple(data[key])
            info = cls(**data)
            _check_types(info)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{path}: cannot be read as a plan's description ({error}); "
                f"build the plan again with: mnistkit build-engine {path.parent}"
            ) from error
        return info

    def refusal(self, flavor: str, version: str, arch: str) -> str | None:
        """Why this plan does not run with that library on that GPU: found against expected."""
        differing = [
            f"{what}: the plan has {found}, this machine has {wanted}"
            for what, found, wanted in (
                ("flavour", self.flavor, flavor),
                ("TensorRT version", self.version, version),
                ("GPU architecture", self.gpu_arch, arch),
            )
            if found != wanted
        ]
        return "; ".join(differing) or None

    def check(self, plan: Path, flavor: str, version: str, arch: str) -> bytes:
        """Return the plan's bytes once everything fits, or raise :class:`ArtifactError`."""
        rebuild = rebuild_command(plan.parent, self.precision, flavor)
        if reason := self.refusal(flavor, version, arch):
            raise ArtifactError(f"{plan} is not for here: {reason}. Build it here with: {rebuild}")
        try:
            data = plan.read_bytes()
        except OSError as error:
            raise ArtifactError(
                f"{plan}: cannot be read ({error.strerror}); build it again with: {rebuild}"
            ) from error
        if len(data) != self.size:
            raise ArtifactError(
                f"{plan}: {len(data)} bytes, its description says {self.size}: truncated or "
                f"altered. Build it again with: {rebuild}"
            )
        if (got := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise ArtifactError(
                f"{plan}: sha256 {got[:12]}…, its description says {self.sha256[:12]}…: altered "
                f"after the build. Build it again with: {rebuild}"
            )
        return data


def rebuild_command(folder: Path | str, precision: str, flavor: str) -> str:
    """The command that builds a plan from an artifact folder's ONNX on this machine."""
    return f"mnistkit build-engine {folder} --precision {precision} --trt-flavor {flavor}"


def write(folder: Path, info: PlanInfo, data: bytes) -> tuple[Path, Path]:
    """Write a plan and then its JSON, each whole or not at all; return both paths."""
    plan = folder / info.name
    try:
        # A JSON that described the old plan would refuse the new one with a wrong reason.
        info_path(plan).unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(plan, error) from error
    with replacing(plan) as temporary:
        temporary.write_bytes(data)
    write_text(info_path(plan), info.to_json())
    return plan, info_path(plan)


def _check_types(info: PlanInfo) -> None:
    if info.flavor not in FLAVORS:
        raise ValueError(f"unknown flavour {info.flavor!r}")
    for field in ("precision", "version", "gpu_arch", "sha256"):
        if not isinstance(getattr(info, field), str):
            raise TypeError(f"{field} is not text")
    sizes = [info.profile[key] for key in ("min", "opt", "max")]
    if not all(type(size) is int and size > 0 for size in sizes) or sizes != sorted(sizes):
        raise ValueError(f"profile {dict(info.profile)} is not 1 <= min <= opt <= max")
