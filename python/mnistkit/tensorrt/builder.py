"""TensorRT: plans from the artifact's ONNX files, with both flavours of the library.

The precision is that of the ONNX: networks are strongly typed. A Q/DQ ONNX is linted first,
because TensorRT takes several faults in silence; the building itself happens in a process of its
own (:mod:`mnistkit.tensorrt.worker`), which checks each layer's precision.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnistkit import __version__
from mnistkit.artifact.folder import Artifact, FileEntry, file_entry, write_manifest
from mnistkit.common.errors import CheckError, MissingError, UsageError
from mnistkit.common.paths import cache_dir, replacing
from mnistkit.nets.spec import INPUT_SHAPE
from mnistkit.tensorrt import flavor as flavors
from mnistkit.tensorrt import lint, probe, worker
from mnistkit.tensorrt import plan as plans
from mnistkit.tensorrt.flavor import Flavor
from mnistkit.tensorrt.plan import PlanInfo

INFO_FORMAT = "-info"  # what follows the flavour's name as the format of the JSON beside a plan
_OPT_BATCH = 64
# All that the builder's process gets of the environment, so that builds do not depend on the rest.
_KEPT = re.compile(
    r"(PATH|HOME|LANG|PYTHONPATH|PYTHONUSERBASE|LD_LIBRARY_PATH|SYSTEMROOT|TEMP|CUDA_.+|NVIDIA_.+)"
)


@dataclass(frozen=True)
class BuildOptions:
    """What to build for.

    ``flavor`` is ``auto``, ``tensorrt`` or ``tensorrt_rtx``; ``gpu_archs`` are compute
    capabilities such as ``8.9``, empty for the GPU here (without one: the flavour's usual ones).
    ``opt_batch`` None is 64, or less where ``max_batch`` is. Raises :class:`UsageError`.
    """

    flavor: str = "auto"
    gpu_archs: tuple[str, ...] = ()
    min_batch: int = 1
    opt_batch: int | None = None
    max_batch: int = 1024

    def __post_init__(self) -> None:
        low, opt, high = self.profile
        if not 1 <= low <= opt <= high:
            raise UsageError(
                f"batch sizes: got min {low}, opt {opt}, max {high}; wanted 1 <= min <= opt <= max"
            )
        if self.flavor != "auto":
            flavors.get(self.flavor)
        for arch in self.gpu_archs:
            if not re.fullmatch(r"\d{1,2}\.\d", arch):
                raise UsageError(
                    f"GPU architecture: got {arch!r}, wanted a compute capability such as 8.9"
                )

    @property
    def profile(self) -> tuple[int, int, int]:
        """The least, the usual and the largest batch."""
        opt = self.opt_batch
        if opt is None:
            opt = max(self.min_batch, min(_OPT_BATCH, self.max_batch))
        return self.min_batch, opt, self.max_batch


@dataclass(frozen=True)
class Target:
    """One flavour and one GPU architecture; ``gpu`` is the name of the GPU here, if it is that."""

    flavor: Flavor
    arch: str
    gpu: str | None


@dataclass(frozen=True)
class Plan:
    """A built plan: its description and its bytes."""

    info: PlanInfo
    data: bytes


def targets(options: BuildOptions, folder: Path | str = "DIR") -> list[Target]:
    """What ``options`` mean on this machine, for plans that go into ``folder``.

    Raises :class:`MissingError` with the command that helps where the library or the GPU that
    building needs is not here, :class:`UsageError` for an architecture that cannot be built.
    """
    flavor = _choose(options)
    here = None if probe.missing() else probe.gpu()
    if reason := flavor.missing():
        raise MissingError(
            reason if flavor.archs or here else f"{reason}. {_needs_gpu(flavor, folder)}"
        )
    if not flavor.archs:
        if here is None:
            raise MissingError(_needs_gpu(flavor, folder))
        if other := [arch for arch in options.gpu_archs if arch != here.arch]:
            raise UsageError(
                f"{flavor.title} builds for the GPU here ({here.name}, {here.arch}) alone, not for "
                f"{', '.join(other)}: build there"
            )
        return [Target(flavor, here.arch, here.name)]
    if here is not None and not options.gpu_archs and here.arch not in flavor.archs:
        raise MissingError(
            f"{flavor.title} does not know the GPU here ({here.name}, {here.arch}); it builds for "
            f"{', '.join(flavor.archs)}: name them with --gpu-arch, or install the full TensorRT "
            f"with: {flavors.get('tensorrt').install}"
        )
    if unknown := [arch for arch in options.gpu_archs if arch not in flavor.archs]:
        raise UsageError(
            f"{flavor.title} does not build for {', '.join(unknown)}; it builds for "
            f"{', '.join(flavor.archs)}. Other GPUs need the full TensorRT: --trt-flavor tensorrt"
        )
    archs = options.gpu_archs or ((here.arch,) if here else flavor.default_archs)
    return [
        Target(flavor, arch, here.name if here and here.arch == arch else None)
        for arch in dict.fromkeys(archs)
    ]


def _choose(options: BuildOptions) -> Flavor:
    """The flavour that was named, or for ``auto`` the one that builds here."""
    if options.flavor != "auto":
        return flavors.get(options.flavor)
    full, rtx = flavors.get("tensorrt"), flavors.get("tensorrt_rtx")
    if full.missing() and rtx.missing():
        raise MissingError(
            f"no TensorRT is installed; for a data-centre GPU or a Jetson: {full.install}; "
            f"for an RTX card, or to build without a GPU: {rtx.install}"
        )
    wants_here = not options.gpu_archs or not set(options.gpu_archs) <= set(rtx.archs)
    if not full.missing() and ((wants_here and not probe.missing()) or rtx.missing()):
        return full
    return rtx


def _needs_gpu(flavor: Flavor, folder: Path | str) -> str:
    rtx = flavors.get("tensorrt_rtx")
    return (
        f"{flavor.title} builds on the GPU that the plan will run on, and here is none: "
        f"{probe.missing()}. Export with --onnx, copy the folder to that machine and run there: "
        f"mnistkit build-engine {folder} --trt-flavor {flavor.name}. To build for RTX cards "
        f"without a GPU: {rtx.install}, then --trt-flavor {rtx.name} --gpu-arch 8.9"
    )


def build(
    model: bytes, model_name: str, precision: str, target: Target, options: BuildOptions
) -> Plan:
    """Build one plan from the bytes of an ONNX file called ``model_name``.

    Raises :class:`CheckError` naming every fault: of the Q/DQ, of the parser, of a layer that has
    another precision, of the builder.
    """
    if precision == "int8" and (faults := lint.lint(model, wants_int8=True)):
        listing = "\n".join(f"  {fault}" for fault in faults)
        raise CheckError(f"{model_name}: TensorRT would not run it as int8:\n{listing}")
    low, opt, high = options.profile
    job = {
        "module": target.flavor.name,
        "build_arch": target.arch if target.flavor.archs else None,
        "precision": precision,
        "input": plans.INPUT,
        "shape": INPUT_SHAPE,
        "profile": (low, opt, high),
        "timing_cache": not target.flavor.archs,  # it does nothing in TensorRT for RTX
    }
    cache = _TimingCache(target)
    answer, data, timings = _run_worker(job, model, cache.read(), model_name)
    cache.write(timings)
    info = PlanInfo(
        precision=precision,
        flavor=target.flavor.name,
        version=answer["version"],
        gpu_arch=target.arch,
        gpu=target.gpu,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        onnx={"name": model_name, "sha256": hashlib.sha256(model).hexdigest()},
        profile={"min": low, "opt": opt, "max": high},
        inputs=tuple(answer["inputs"]),
        outputs=tuple(answer["outputs"]),
        layers=tuple(answer["layers"]),
        engine_layers=None if answer["engine_layers"] is None else tuple(answer["engine_layers"]),
        build_seconds=answer["build_seconds"],
        reproducible=answer["reproducible"],
        mnistkit=__version__,
    )
    return Plan(info, data)


def build_all(
    models: Mapping[str, tuple[str, bytes]], options: BuildOptions, folder: Path | str = "DIR"
) -> list[Plan]:
    """Build each of ``models`` (precision: ONNX file name and bytes) for every target."""
    found = targets(options, folder)
    return [
        build(data, name, precision, target, options)
        for precision, (name, data) in models.items()
        for target in found
    ]


def write(
    folder: Path, built: Iterable[Plan], on_file: Callable[[FileEntry], None] | None = None
) -> list[FileEntry]:
    """Write plans and their descriptions into an artifact folder; return their entries."""
    entries = []
    for made in built:
        plan, description = plans.write(folder, made.info, made.data)
        flavor, precision = made.info.flavor, made.info.precision
        entries.append(file_entry(plan, flavor, precision))
        entries.append(file_entry(description, flavor + INFO_FORMAT, precision))
        if on_file is not None:
            on_file(entries[-2])
    return entries


def describe(built: Iterable[Plan]) -> dict[str, dict[str, str]]:
    """What the manifest says of plans: file name to flavour, version and GPU architecture."""
    keys = ("flavor", "version", "gpu_arch")
    return {made.info.name: {key: getattr(made.info, key) for key in keys} for made in built}


def build_into(
    path: Path,
    precisions: Iterable[str] | None,
    options: BuildOptions,
    on_file: Callable[[FileEntry], None] | None = None,
) -> list[FileEntry]:
    """Build plans from the ONNX files of an artifact folder, into that folder.

    This is how a plan is built on the machine that runs it. Without ``precisions`` each ONNX in
    the folder becomes a plan. The manifest lists the new files; other plans stay.
    """
    artifact = Artifact.open(path)
    held = [entry.precision for entry in artifact.files if entry.format == "onnx"]
    wanted = list(precisions) if precisions is not None else held
    if not wanted:
        raise MissingError(
            f"{path} holds no ONNX to build from; make one with: "
            f"mnistkit export --onnx --out {path} --force"
        )
    files = {precision: artifact.file("onnx", precision) for precision in wanted}
    models = {p: (file.name, file.read_bytes()) for p, file in files.items()}
    built = build_all(models, options, path)
    entries = write(path, built, on_file)
    names = {entry.name for entry in entries}
    kept = [entry for entry in artifact.files if entry.name not in names]
    manifest = {k: v for k, v in artifact.manifest.items() if k not in ("schema", "files")}
    manifest["tensorrt"] = {**manifest.get("tensorrt", {}), **describe(built)}
    write_manifest(path, manifest, [*kept, *entries])
    return entries


def _run_worker(
    job: Mapping[str, Any], model: bytes, cache: bytes, model_name: str
) -> tuple[dict[str, Any], bytes, bytes]:
    done = subprocess.run(
        [sys.executable, "-P", worker.__file__],
        input=worker.pack(json.dumps(job).encode(), model, cache),
        capture_output=True,
        check=False,
        cwd=Path(worker.__file__).parent,
        env={
            **{key: value for key, value in os.environ.items() if _KEPT.fullmatch(key)},
            "PYTHONHASHSEED": "0",
        },
    )
    log = done.stderr.decode("utf-8", "replace").strip()
    try:
        head, plan, timings = worker.unpack(done.stdout)
    except ValueError:
        tail = "\n".join(log.splitlines()[-15:]) or "no message"
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"code {done.returncode}"
        raise CheckError(
            f"{model_name}: the builder of {job['module']} ended with {how}:\n{tail}"
        ) from None
    answer = json.loads(head)
    if "refused" in answer:
        listing = "\n".join(f"  {fault}" for fault in answer["faults"])
        raise CheckError(f"{model_name}: {_REFUSALS[answer['refused']]}:\n{listing}")
    return answer, plan, timings


_REFUSALS = {
    "parse": "TensorRT's ONNX parser refuses it",
    "precision": "TensorRT would run layers in another precision",
    "profile": "TensorRT refuses the batch sizes",
    "arch": "TensorRT refuses the GPU architecture",
    "build": "TensorRT cannot build it",
    "engine": "TensorRT built it in another precision and says nothing; a GPU without kernels for "
    "this one wants fp16",
}


class _TimingCache:
    """What the builder measured before on this GPU: faster builds that choose the same kernels."""

    def __init__(self, target: Target) -> None:
        self._path: Path | None = None
        if not target.flavor.archs and target.gpu:
            gpu = re.sub(r"\W+", "-", target.gpu)
            self._path = cache_dir() / "tensorrt" / f"timing-{gpu}-sm{target.arch}.cache"

    def read(self) -> bytes:
        try:
            return self._path.read_bytes() if self._path else b""
        except OSError:
            return b""

    def write(self, timings: bytes) -> None:
        if not self._path or not timings:
            return
        try:
            with replacing(self._path) as temporary:
                temporary.write_bytes(timings)
        except UsageError:
            pass  # a cache folder that cannot be written to slows builds down and does no harm
