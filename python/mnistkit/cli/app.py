"""The command line: parses, calls, prints. Heavy imports wait for the command that needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnistkit import __version__
from mnistkit.cli import info as cli_info
from mnistkit.cli import tensorrt as cli_trt
from mnistkit.cli import train as cli_train
from mnistkit.cli.common import (
    BackendOption,
    DataDirOption,
    DeviceOption,
    DirArgument,
    GpuArchOption,
    JsonOption,
    MaxBatchOption,
    MinBatchOption,
    OptBatchOption,
    PrecisionOption,
    PretrainedOption,
    QuietOption,
    RunArgument,
    ThreadsOption,
    TrtFlavorOption,
    VerboseOption,
)
from mnistkit.cli.common import artifact as _artifact
from mnistkit.cli.common import chosen as _chosen
from mnistkit.cli.common import session as _session
from mnistkit.cli.common import split as _split
from mnistkit.cli.common import write_json as _write_json
from mnistkit.common.errors import CheckError, UsageError
from mnistkit.common.terminal import program

if TYPE_CHECKING:
    from mnistkit.pictures.reading import Reading, Unread

app = typer.Typer(
    name="mnistkit",
    help="Train, quantize, export and deploy small MNIST nets, with proof that they agree.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"mnistkit {__version__}")
        raise typer.Exit


app.command()(cli_train.train)


@app.command()
def quantize(
    source: RunArgument = None,
    pretrained: PretrainedOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write; default: RUN-int8.")
    ] = None,
    method: Annotated[
        str, typer.Option(help="ptq: calibrate. qat: calibrate, then fine-tune.")
    ] = "ptq",
    calibration: Annotated[str, typer.Option(help="max, percentile or mse.")] = "mse",
    images: Annotated[int, typer.Option(help="Training images to calibrate on.")] = 1024,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of fine-tuning (qat).")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw and of fine-tuning.")] = 0,
    dataset: Annotated[str, typer.Option(help="Default: what the net was trained on.")] = "",
    data_dir: DataDirOption = None,
    threads: ThreadsOption = 0,
    plot: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the layers as a PNG.")
    ] = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Make the int8 net of a trained net, and show where its accuracy goes.

    Examples:
      mnistkit quantize runs/a --out runs/a-int8 --report layers.png

      mnistkit quantize nano --method qat --epochs 3
    """
    with _session(quiet, verbose) as console:
        from mnistkit.cli import tables
        from mnistkit.data import sets as data
        from mnistkit.quantization.qat import QatSettings
        from mnistkit.quantization.run import quantize_source, summarize, write_run
        from mnistkit.training import devices

        net = _chosen(source, pretrained)
        devices.choose("cpu", threads)
        train_set = data.load(dataset or net.dataset, "train", data_dir)
        test_set = data.load(train_set.name, "test", data_dir)
        with console.bar("quantize") as bar:
            made = quantize_source(
                net,
                train_set,
                method=method,
                calibrate=calibration,
                images=images,
                seed=seed,
                settings=QatSettings(epochs=epochs),
                on_step=lambda done, loss: bar.fraction(f"fine-tuning, loss {loss:.4f}", done),
            )
        figures = summarize(net, made, test_set)
        folder = out or net.path.with_name(f"{net.path.name}-int8")
        write_run(net, made, folder)
        console.table(tables.layers_table(made.layers, net.name))
        if plot:
            tables.layers_plot(made.layers, net.name, plot)
        if json_file:
            _write_json(json_file, figures.to_json())
        console.result(
            f"{test_set.name} test accuracy: int8 {figures.test_accuracy:.2%}, "
            f"fp32 {figures.fp32_test_accuracy:.2%}; run folder: {folder}"
        )


@app.command()
def export(
    source: RunArgument = None,
    pretrained: PretrainedOption = None,
    out: Annotated[Path, typer.Option(help="Artifact folder to write.")] = Path("out"),
    torchscript: Annotated[bool, typer.Option("--torchscript", help="TorchScript.")] = False,
    onnx: Annotated[bool, typer.Option("--onnx", help="ONNX.")] = False,
    native: Annotated[bool, typer.Option("--native", help="The engine's .mnk file.")] = False,
    c_source: Annotated[bool, typer.Option("--c", help="One C file and header, alone.")] = False,
    trt: Annotated[bool, typer.Option("--trt", help="TensorRT plans, with their ONNX.")] = False,
    all_formats: Annotated[
        bool, typer.Option("--all", help="Every format that no GPU is needed for.")
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="fp32, fp16, int8; default: all that the net has."),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", help="ONNX opset; default: the lowest that holds the net."),
    ] = None,
    trt_flavor: TrtFlavorOption = "auto",
    gpu_arch: GpuArchOption = None,
    min_batch: MinBatchOption = 1,
    opt_batch: OptBatchOption = None,
    max_batch: MaxBatchOption = 1024,
    force: Annotated[bool, typer.Option("--force", help="Replace an artifact.")] = False,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write the artifact folder of a trained net. With no format named, all of them.

    Examples:
      mnistkit export runs/a --out out --torchscript --onnx --precision fp32,fp16

      mnistkit export base --all --force

      mnistkit export base --trt --precision int8 --trt-flavor tensorrt_rtx --gpu-arch 8.9
    """
    with _session(quiet, verbose) as console:
        from mnistkit.artifact.folder import MANIFEST, Artifact
        from mnistkit.cli import tables
        from mnistkit.export import writer

        asked = {"torchscript": torchscript, "onnx": onnx, "native": native, "c": c_source}
        formats = [name for name, wanted in asked.items() if wanted]
        if all_formats or not (formats or trt):
            formats = list(writer.FORMATS)
        plans = None
        if trt:
            from mnistkit.tensorrt.builder import BuildOptions

            archs = tuple(_split(gpu_arch) or ())
            plans = BuildOptions(trt_flavor, archs, min_batch, opt_batch, max_batch)
        net = _chosen(source, pretrained)
        writer.export(
            net,
            out,
            formats,
            _split(precision),
            trt=plans,
            opset=opset,
            force=force,
        )
        if json_file:
            _write_json(json_file, json.loads((out / MANIFEST).read_text()))
        sizes = {entry.name: entry.bytes for entry in Artifact.open(out).files}
        console.table(tables.size_table(sizes, net.name))
        console.result(f"exported {net.name} to {out}")


@app.command()
def verify(
    folder: DirArgument = None,
    pretrained: PretrainedOption = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
    dataset: Annotated[
        str, typer.Option(help="Test images; default: the dataset that the net was trained on.")
    ] = "",
    data_dir: DataDirOption = None,
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 0,
    min_accuracy: Annotated[
        float,
        typer.Option(min=0, max=1, help="Fail where an accuracy is lower, as in 0.995."),
    ] = 0.0,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run every test image through every backend and precision, and compare with the reference.

    Exits with 1 where a row is outside its tolerance, or where nothing but references was run. A
    peer (openvino) that is wrong is shown, and decides nothing unless --backend names it.

    Examples:
      mnistkit verify out --json v.json

      mnistkit verify --pretrained base

      mnistkit verify out --backend onnxruntime,libtorch --precision fp32
    """
    with _session(quiet, verbose) as console:
        from mnistkit.cli import tables
        from mnistkit.data import sets as data
        from mnistkit.measure import parity

        with _artifact(folder, pretrained) as artifact:
            digits = data.load(dataset or artifact.dataset, "test", data_dir)
            with console.bar("verify") as bar:
                found = parity.verify(
                    artifact,
                    digits,
                    names=_split(backend),
                    precisions=_split(precision),
                    device=device,
                    threads=threads,
                    on_batch=lambda name, count: bar.advance(name, count, len(digits)),
                )
        if json_file:
            _write_json(json_file, found.to_json())
        console.table(tables.verify_table(found))
        for line in tables.verify_lines(found):
            console.result(line)
        if low := [name for name, reached in found.accuracies() if reached < min_accuracy]:
            raise CheckError(f"accuracy of {', '.join(low)} is below {min_accuracy:.2%}")
        if not found.compared:
            raise CheckError(found.faults[-1])
        if not found.passed:
            raise CheckError("parity failed: see the rows above")


@app.command()
def bench(
    folder: DirArgument = None,
    pretrained: PretrainedOption = None,
    backend: BackendOption = None,
    precision: PrecisionOption = None,
    batch: Annotated[str, typer.Option(metavar="N,M", help="Batch sizes.")] = "1,8,64,512",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = 1,
    duration: Annotated[float, typer.Option(help="Seconds measured for each row.")] = 1.0,
    warmup: Annotated[float, typer.Option(help="Seconds of warm-up for each row.")] = 0.2,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Measure the core's peak and each row's share of it.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a PNG plot.")] = None,
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Measure latency, throughput, load time and memory of every backend in one run.

    What answers wrongly is not timed: an error where --backend names it, else it is left out and
    listed, and the exit code is 1 if it is no peer.

    Examples:
      mnistkit bench out --plot bench.png --json bench.json

      mnistkit bench out --batch 1,256 --threads 2 --backend onnxruntime

      taskset -c 1 mnistkit bench out --backend engine,onnxruntime,openvino --roofline
    """
    with _session(quiet, verbose) as console:
        from mnistkit.cli import tables
        from mnistkit.measure import latency

        try:
            sizes = [int(size) for size in _split(batch) or []]
        except ValueError as error:
            raise UsageError(f"--batch: wanted numbers such as 1,8,64, got {batch!r}") from error
        with _artifact(folder, pretrained) as artifact, console.bar("bench") as bar:
            found = latency.bench(
                artifact,
                names=_split(backend),
                precisions=_split(precision),
                device=device,
                threads=threads,
                batch_sizes=sizes,
                duration=duration,
                warmup=warmup,
                roofline=roofline,
                on_progress=bar.fraction,
            )
        if json_file:
            _write_json(json_file, found.to_json())
        console.table(tables.bench_table(found))
        if found.roofline is not None:
            console.result(tables.roofline_text(found.roofline))
        for line in tables.bench_lines(found):
            console.result(line)
        if plot:
            tables.bench_plot(found, plot)
            console.result(f"plot: {plot}")
        if ours := [one.name for one in found.wrong if not one.peer]:
            raise CheckError(f"not timed, because the answers are wrong: {', '.join(ours)}")


@app.command()
def predict(
    files: Annotated[
        list[Path], typer.Argument(help="Pictures or IDX files; - is standard input.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Artifact folder, run or pretrained net; default: the newest run."),
    ] = None,
    pretrained: PretrainedOption = None,
    backend: Annotated[str, typer.Option(help="Runtime to use on an artifact folder.")] = "eager",
    precision: Annotated[str, typer.Option(help="fp32, fp16 or int8.")] = "fp32",
    device: DeviceOption = "cpu",
    json_file: JsonOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Read digits from pictures of any size, dark on light or light on dark.

    Reads PNG, JPEG, BMP, GIF, TIFF, WebP, PGM and PPM, and IDX. A file that cannot be read does not
    stop the others: it is named, its row of the JSON has an error, and the exit code is 1.

    Examples:
      mnistkit predict seven.png photo.jpg --pretrained base

      mnistkit predict t10k-images-idx3-ubyte.gz --model out --backend onnxruntime --json -
    """
    with _session(quiet, verbose) as console:
        from mnistkit.api.predict import check_read, open_model, predict_files
        from mnistkit.pictures.reading import Unread

        if pretrained:
            model = str(_chosen(model, pretrained).path)
        records: list[Reading | Unread] = []
        with (
            open_model(model, backend, precision, device) as predictor,
            console.bar("predict", hidden=console.results_on_terminal) as bar,
        ):
            for done, found in enumerate(predict_files(predictor, files), start=1):
                records += found
                for one in found:
                    if isinstance(one, Unread):
                        if len(files) > 1:
                            console.error(one.error)
                    elif json_file != Path("-"):
                        console.result(_line(one))
                bar.fraction(f"{done} of {len(files)} files", done / len(files))
        if json_file:
            _write_json(json_file, [one.to_json() for one in records])
        check_read(records)


def _line(reading: Reading) -> str:
    """A reading in one line: the digit, and the three likeliest."""
    likely = sorted(enumerate(reading.probabilities), key=lambda p: -p[1])[:3]
    shown = "  ".join(f"{digit}: {p:.1%}" for digit, p in likely)
    return f"{reading.file}[{reading.index}]  {reading.digit}  ({shown})"


app.command()(cli_info.nets)
app.command()(cli_info.doctor)
app.command("build-runner")(cli_info.build_runner)
app.command()(cli_trt.lint)
app.command("build-engine")(cli_trt.build_engine)


def run() -> None:
    """Run the command line and end the process."""
    program(app)
