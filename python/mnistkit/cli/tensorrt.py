"""The commands around TensorRT: ``lint`` and ``build-engine``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mnistkit.cli.common import (
    DirArgument,
    GpuArchOption,
    JsonOption,
    MaxBatchOption,
    MinBatchOption,
    OptBatchOption,
    PrecisionOption,
    QuietOption,
    TrtFlavorOption,
    VerboseOption,
    session,
    split,
    write_json,
)
from mnistkit.common.errors import CheckError, MissingError


def lint(
    path: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="An ONNX file, or a folder.")],
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Name every fault of a quantized ONNX, those that TensorRT takes in silence included.

    Exits with 1 where there is one.

    Examples:
      mnistkit lint out/model-int8.onnx

      mnistkit lint out
    """
    with session(quiet, verbose) as console:
        from mnistkit.tensorrt import lint

        files = sorted(path.glob("*.onnx")) if path.is_dir() else [path]
        if not files:
            raise MissingError(
                f"{path} holds no ONNX; make one with: mnistkit export --onnx --out {path} --force"
            )
        found = {file: lint.lint(file) for file in files}
        for file, faults in found.items():
            console.result(f"{file}: {len(faults) or 'no'} fault{'s' * (len(faults) != 1)}")
            for fault in faults:
                console.result(f"  {fault}")
        if json_file:
            rows = [{"file": f.name, **vars(fault)} for f, each in found.items() for fault in each]
            write_json(json_file, {"files": [file.name for file in files], "faults": rows})
        if count := sum(map(len, found.values())):
            raise CheckError(f"{count} fault{'s' * (count != 1)}: see above")


def build_engine(
    folder: DirArgument = None,
    precision: PrecisionOption = None,
    trt_flavor: TrtFlavorOption = "auto",
    gpu_arch: GpuArchOption = None,
    min_batch: MinBatchOption = 1,
    opt_batch: OptBatchOption = None,
    max_batch: MaxBatchOption = 1024,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Build TensorRT plans from the ONNX files of an artifact folder, into that folder.

    Run it on the machine that will run the plans: a GPU server, a Jetson. It needs TensorRT there,
    and neither PyTorch nor the training run.

    Examples:
      mnistkit build-engine out --precision int8

      mnistkit build-engine out --trt-flavor tensorrt_rtx --gpu-arch 8.9,12.0
    """
    with session(quiet, verbose) as console:
        from mnistkit.artifact.folder import newest
        from mnistkit.tensorrt.builder import BuildOptions, build_into

        options = BuildOptions(
            trt_flavor, tuple(split(gpu_arch) or ()), min_batch, opt_batch, max_batch
        )
        path = folder or newest()
        entries = build_into(
            path,
            split(precision),
            options,
            on_file=lambda entry: console.note(f"  {entry.name}  {entry.bytes:,} bytes"),
        )
        if json_file:
            write_json(json_file, [vars(entry) for entry in entries])
        console.result(f"built {sum(e.name.endswith('.engine') for e in entries)} plans in {path}")
