"""Plans built for real by TensorRT for RTX, which needs no GPU for it; nothing here runs one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from mnistkit import backends
from mnistkit.artifact import Artifact, file_entry, write_manifest
from mnistkit.cli import app
from mnistkit.data import Digits
from mnistkit.errors import ArtifactError, CheckError, MissingError, UsageError
from mnistkit.export import export, qdq_lint, tensorrt, tensorrt_worker
from mnistkit.export import onnx as onnx_format
from mnistkit.export.tensorrt import BuildOptions
from mnistkit.gpu import flavor, probe
from mnistkit.gpu.backend import TensorRtBackend
from mnistkit.gpu.plan import PlanInfo, info_path
from mnistkit.nets import zoo
from mnistkit.nets.deploy import fold
from mnistkit.nets.module import DigitNet
from mnistkit.quantization import calibration
from mnistkit.quantization.graph import quantize
from mnistkit.source import Source
from qdq_models import Spoiled, qdq_model
from typer.testing import CliRunner

NO_RTX = flavor.get("tensorrt_rtx").missing()
real = pytest.mark.skipif(NO_RTX is not None, reason=str(NO_RTX))
PRECISIONS = ("fp32", "fp16", "int8")
OPTIONS = BuildOptions("tensorrt_rtx", ("8.9",))


@pytest.fixture(autouse=True)
def _no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is built does not depend on whether the machine of the tests has a GPU."""
    monkeypatch.setattr(probe, "_examine", lambda: "there is no NVIDIA driver here (test)")


@pytest.fixture(scope="module")
def models(digits_train: Digits) -> dict[tuple[str, str], bytes]:
    """The ONNX of every net in every precision; the weights are random, the graphs are ours."""
    made: dict[tuple[str, str], bytes] = {}
    images = digits_train.images[:64].numpy()
    for name, spec in zoo.ZOO.items():
        torch.manual_seed(0)
        graph = fold(spec, DigitNet(spec).eval().state_dict())
        for precision in ("fp32", "fp16"):
            made[name, precision] = onnx_format.render(graph, precision)
        ranges = calibration.ranges(graph, images, "max")
        made[name, "int8"] = onnx_format.render_int8(quantize(graph, ranges))
    return made


def build(model: bytes, precision: str, options: BuildOptions = OPTIONS) -> tensorrt.Plan:
    (target,) = tensorrt.targets(options)
    return tensorrt.build(model, f"model-{precision}.onnx", precision, target, options)


@real
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("net", zoo.ZOO)
def test_every_net_builds_with_the_precision_asked_for(
    models: dict[tuple[str, str], bytes], net: str, precision: str
) -> None:
    plan = build(models[net, precision], precision)
    convs = [
        node
        for node in onnx.load_from_string(models[net, precision]).graph.node
        if node.op_type == "Conv"
    ]
    assert [layer["name"] for layer in plan.info.layers] == [node.name for node in convs]
    assert {layer["precision"] for layer in plan.info.layers} == {precision}
    assert plan.info.profile == {"min": 1, "opt": 64, "max": 1024}
    assert plan.info.size == len(plan.data) > 10_000
    assert plan.info.inputs[0] == {"name": "input", "dtype": "UINT8", "shape": [-1, 1, 28, 28]}
    assert plan.info.outputs[0] == {"name": "logits", "dtype": "FLOAT", "shape": [-1, 10]}
    # The builder's own list of what it built, not only of what it was given.
    element = {"fp32": "Float", "fp16": "Half", "int8": "Int8"}[precision]
    built = plan.info.engine_layers
    assert built
    assert len(built) == len(convs)
    assert {(layer["input"], layer["weight"]) for layer in built} == {(element, element)}
    if precision == "int8":
        assert qdq_lint.lint(models[net, precision], wants_int8=True) == []


@real
@pytest.mark.parametrize("arch", flavor.get("tensorrt_rtx").archs)
def test_every_architecture_builds(models: dict[tuple[str, str], bytes], arch: str) -> None:
    options = replace(OPTIONS, gpu_archs=(arch,))
    if arch == "7.5":  # Turing: TensorRT for RTX runs the convolutions in float, and says nothing
        with pytest.raises(CheckError, match=r"reads Float.*int8 is Int8"):
            build(models["nano", "int8"], "int8", options)
        plan = build(models["nano", "fp16"], "fp16", options)
    else:
        plan = build(models["nano", "int8"], "int8", options)
    assert plan.info.gpu_arch == arch
    assert plan.info.name == f"model-{plan.info.precision}-sm{arch.replace('.', '')}-rtx1.engine"


@real
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_builds_of_the_same_input_are_identical(
    models: dict[tuple[str, str], bytes], precision: str
) -> None:
    plans = [build(models["base", precision], precision) for _ in range(3)]
    if not plans[0].info.reproducible:
        pytest.skip("this system does not let a process switch address randomization off")
    assert plans[0].data == plans[1].data == plans[2].data
    infos = [replace(plan.info, build_seconds=0.0) for plan in plans]
    assert infos[0] == infos[1] == infos[2]


@real
def test_a_float_model_is_no_int8_plan_and_an_int8_model_no_float_plan(
    models: dict[tuple[str, str], bytes],
) -> None:
    with pytest.raises(CheckError, match="no-qdq"):
        build(models["nano", "fp32"], "int8")
    with pytest.raises(CheckError, match="layer conv0: is int8, fp32 was asked for"):
        build(models["nano", "int8"], "fp32")
    with pytest.raises(CheckError, match="layer conv0: is fp32, fp16 was asked for"):
        build(models["nano", "fp32"], "fp16")


@real
def test_bad_qdq_is_refused_by_its_fault() -> None:
    model = qdq_model(Spoiled(weight_axis=1)).SerializeToString()
    with pytest.raises(CheckError, match="conv1_wdq: weight-axis"):
        build(model, "int8")


@real
@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 64])
def test_what_is_no_onnx_is_refused(content: bytes) -> None:
    with pytest.raises((CheckError, ArtifactError)):
        build(content, "fp32")
    with pytest.raises(ArtifactError, match="not an ONNX file"):
        build(content, "int8")


@real
def test_every_error_of_the_parser_is_reported() -> None:
    model = qdq_model()
    for node in model.graph.node:
        if node.op_type == "Relu":
            node.op_type = "NoSuchOperator"
    with pytest.raises(CheckError, match="NoSuchOperator"):
        build(model.SerializeToString(), "int8")


def test_a_builder_that_dies_is_an_error_and_not_our_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(tensorrt_worker, "__file__", str(worker))
    target = tensorrt.Target(flavor.get("tensorrt_rtx"), "8.9", None)
    with pytest.raises(CheckError, match="ended with signal 11"):
        tensorrt.build(b"", "x.onnx", "fp32", target, OPTIONS)


@pytest.mark.parametrize(
    "sizes",
    [
        {"min_batch": 0},
        {"min_batch": 9, "max_batch": 4},
        {"opt_batch": 2048},
        {"min_batch": 8, "opt_batch": 4},
        {"max_batch": -1},
    ],
)
def test_batch_sizes_out_of_order_are_a_wrong_call(sizes: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="1 <= min <= opt <= max"):
        BuildOptions(**sizes)  # type: ignore[arg-type]


def test_the_usual_batch_stays_inside_the_limits() -> None:
    assert BuildOptions().profile == (1, 64, 1024)
    assert BuildOptions(max_batch=8).profile == (1, 8, 8)
    assert BuildOptions(min_batch=100).profile == (100, 100, 1024)


@pytest.mark.parametrize("arch", ["sm89", "89", "8", "8.9 ", "", "8.99"])
def test_an_architecture_that_is_none_is_a_wrong_call(arch: str) -> None:
    with pytest.raises(UsageError, match=r"such as 8\.9"):
        BuildOptions(gpu_archs=(arch,))


# Which flavour and architecture is built for: logic, with the machine pretended.


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


# The artifact folder and the refusal of plans.


@pytest.fixture(scope="module")
def with_plans(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if NO_RTX:
        pytest.skip(NO_RTX)
    out = tmp_path_factory.mktemp("plans") / "out"
    options = BuildOptions("tensorrt_rtx", ("8.6", "8.9"), max_batch=16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_examine", lambda: "no driver (test)")
        export(source, out, (), ("fp16",), trt=options)
    return out


@pytest.fixture
def folder(with_plans: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(with_plans, tmp_path / "out"))


VERSION = "1.7.1.116"
RTX: TensorRtBackend = backends.get("tensorrt_rtx")  # type: ignore[assignment]


def find(folder: Path, wanted: str | None = None, arch: str = "8.9") -> tuple[Path, PlanInfo]:
    return RTX.find(Artifact.open(folder), "fp16", wanted or installed_version(), arch)


def installed_version() -> str:
    return version("tensorrt-rtx")


def test_export_writes_plan_description_onnx_and_manifest(folder: Path) -> None:
    artifact = Artifact.open(folder)
    names = {entry.name: entry.format for entry in artifact.files}
    assert names["model-fp16-sm89-rtx1.engine"] == "tensorrt_rtx"
    assert names["model-fp16-sm86-rtx1.json"] == "tensorrt_rtx-info"
    assert names["model-fp16.onnx"] == "onnx"
    assert artifact.precisions == ("fp32", "fp16")  # fp32: the weights
    for entry in artifact.files:
        artifact.check(entry)
    described = artifact.manifest["tensorrt"]["model-fp16-sm89-rtx1.engine"]
    assert described == {
        "flavor": "tensorrt_rtx",
        "version": installed_version(),
        "gpu_arch": "8.9",
    }
    path, info = find(folder)
    assert path.name == info.name == "model-fp16-sm89-rtx1.engine"
    assert info.check(path, "tensorrt_rtx", installed_version(), "8.9") == path.read_bytes()


def test_building_into_a_folder_adds_to_it(folder: Path) -> None:
    before = {entry.name for entry in Artifact.open(folder).files}
    tensorrt.build_into(folder, ["fp16"], BuildOptions("tensorrt_rtx", ("12.0",)))
    artifact = Artifact.open(folder)
    added = {entry.name for entry in artifact.files} - before
    assert added == {"model-fp16-sm120-rtx1.engine", "model-fp16-sm120-rtx1.json"}
    assert len(artifact.manifest["tensorrt"]) == 3
    # Building again replaces the plan and does not list it twice.
    tensorrt.build_into(folder, None, BuildOptions("tensorrt_rtx", ("12.0",)))
    names = [entry.name for entry in Artifact.open(folder).files]
    assert len(names) == len(set(names))


def test_building_from_a_folder_without_onnx_is_an_error(folder: Path) -> None:
    artifact = Artifact.open(folder)
    entries = [entry for entry in artifact.files if entry.format != "onnx"]
    write_manifest(folder, artifact.manifest, entries)
    with pytest.raises(MissingError, match="holds no ONNX"):
        tensorrt.build_into(folder, None, OPTIONS)


@pytest.mark.parametrize(
    ("wanted", "arch", "message"),
    [
        (None, "7.5", r"GPU architecture: the plan has 8\.9, this machine has 7\.5"),
        ("1.6.0.1", "8.9", r"TensorRT version: the plan has .*, this machine has 1\.6\.0\.1"),
    ],
)
def test_a_plan_for_elsewhere_is_refused(
    folder: Path, wanted: str | None, arch: str, message: str
) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        find(folder, wanted, arch)
    assert "mnistkit build-engine" in str(caught.value)
    assert "--precision fp16 --trt-flavor tensorrt_rtx" in str(caught.value)


def test_a_plan_of_another_flavour_is_refused(folder: Path) -> None:
    path, info = find(folder)
    with pytest.raises(ArtifactError, match="flavour: the plan has tensorrt_rtx, this machine has"):
        info.check(path, "tensorrt", installed_version(), "8.9")


def test_a_precision_that_was_not_built_names_the_command(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"mnistkit build-engine .* --precision int8"):
        RTX.find(Artifact.open(folder), "int8", VERSION, "8.9")


def rewrite(folder: Path, path: Path, content: bytes) -> None:
    """Change a file, and the manifest with it, as somebody would who means it."""
    path.write_bytes(content)
    artifact = Artifact.open(folder)
    entries = [
        file_entry(path, entry.format, entry.precision) if entry.name == path.name else entry
        for entry in artifact.files
    ]
    write_manifest(folder, artifact.manifest, entries)


def test_a_description_that_was_edited_is_refused(folder: Path) -> None:
    path, _ = find(folder)
    description = info_path(path)
    edited = json.loads(description.read_text()) | {"version": "1.0.0.0"}
    description.write_text(json.dumps(edited))
    with pytest.raises(ArtifactError, match=r"model-fp16-sm89-rtx1\.json: .* bytes, the manifest"):
        find(folder)
    rewrite(folder, description, json.dumps(edited).encode())
    with pytest.raises(ArtifactError, match=r"the plan has 1\.0\.0\.0, this machine has"):
        find(folder)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_flipped_byte_and_a_truncated_plan_are_refused(folder: Path, hidden: bool) -> None:
    path, info = find(folder)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content, message in (
        (bytes(flipped), "sha256"),
        (whole[:-100], "truncated"),
        (b"", "0 by"),
    ):
        if hidden:  # the manifest was brought in line: the description still holds the hash
            rewrite(folder, path, content)
        else:
            path.write_bytes(content)
        with pytest.raises(ArtifactError, match=message):
            info.check(find(folder)[0], "tensorrt_rtx", installed_version(), "8.9")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"schema": 2}',
        b'{"schema": 1, "flavor": "tensorrt_rtx"}',
        b"\xff\xfe",
    ],
)
def test_a_description_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    path, _ = find(folder)
    rewrite(folder, info_path(path), content)
    with pytest.raises(ArtifactError, match="mnistkit build-engine"):
        find(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("flavor", "tensorflow"),
        ("version", 11),
        ("profile", {"min": 4, "opt": 2, "max": 1}),
        ("profile", {"min": 1, "opt": 1}),
        ("profile", {"min": 1, "opt": 1, "max": "many"}),
        ("layers", 3),
        ("surprise", 1),
    ],
)
def test_a_description_with_a_wrong_field_is_refused(folder: Path, key: str, value: Any) -> None:
    path, _ = find(folder)
    description = info_path(path)
    edited = json.loads(description.read_text()) | {key: value}
    rewrite(folder, description, json.dumps(edited).encode())
    with pytest.raises(ArtifactError, match="cannot be read as a plan's description"):
        find(folder)


# The command line.


def mnistkit(*arguments: object, cwd: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "mnistkit", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(probe.missing() is None, reason="there is a GPU here")
def test_the_full_tensorrt_without_a_gpu_exits_with_3(run: Path, tmp_path: Path) -> None:
    common = ("export", run, "--out", "o", "--trt", "--precision", "fp16", "--trt-flavor")
    code, said = mnistkit(*common, "tensorrt", cwd=tmp_path)
    assert code == 3, said
    assert "Traceback" not in said
    assert "mnistkit build-engine o --trt-flavor tensorrt" in " ".join(said.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--trt-flavor", "trt"), "unknown TensorRT flavour"),
        (("--min-batch", "9", "--max-batch", "4"), "min <= opt <= max"),
        (("--gpu-arch", "ada"), "a compute capability such as 8.9"),
    ],
)
def test_wrong_options_exit_with_2(
    run: Path, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    common = ["export", str(run), "--out", str(tmp_path / "o"), "--trt"]
    result = CliRunner().invoke(app, [*common, *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


@real
def test_the_command_line_builds(run: Path, tmp_path: Path) -> None:
    code, said = mnistkit(
        *("export", run, "--out", "o", "--trt", "--precision", "fp16"),
        *("--trt-flavor", "tensorrt_rtx", "--gpu-arch", "8.9", "--max-batch", 8),
        cwd=tmp_path,
    )
    assert code == 0, said
    info = json.loads((tmp_path / "o" / "model-fp16-sm89-rtx1.json").read_text())
    assert info["profile"] == {"min": 1, "opt": 8, "max": 8}
    code, said = mnistkit(
        *("build-engine", "o", "--gpu-arch", "8.6", "--trt-flavor", "tensorrt_rtx"),
        cwd=tmp_path,
    )
    assert code == 0, said
    assert (tmp_path / "o" / "model-fp16-sm86-rtx1.engine").is_file()


@real
def test_building_needs_no_pytorch(folder: Path) -> None:
    """A Jetson builds with what TensorRT needs alone."""
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from mnistkit.export.tensorrt import BuildOptions, build_into\n"
        f"build_into(Path({str(folder)!r}), ['fp16'], BuildOptions('tensorrt_rtx', ('7.5',)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "model-fp16-sm75-rtx1.engine").is_file()


def test_messages_of_the_worker_are_framed() -> None:
    parts = (b"{}", b"onnx", b"")
    assert tensorrt_worker.unpack(tensorrt_worker.pack(*parts)) == parts
    for broken in (b"", b"x" * 23, tensorrt_worker.pack(*parts)[:-1]):
        with pytest.raises(ValueError, match="bytes"):
            tensorrt_worker.unpack(broken)


def test_the_engine_listing_of_the_log_is_read() -> None:
    tensor = "{ Name: t, Dimensions: [1], Datatype: Int8, Format: x }"
    listing = (
        "Layers:\nName: a, LayerType: kgen, Inputs: [], Outputs: []\n"
        f"Name: conv0_U1, LayerType: correlation, Inputs: [ {tensor}], Constants: [ {tensor}], "
        "Outputs: [ { Name: o, Datatype: Float }], Metadata: [ONNX Layer: conv0]"
    )
    (layer,) = tensorrt_worker.engine_layers(["noise", listing]) or []
    assert layer == {
        "name": "conv0_U1",
        "onnx_layers": ["conv0"],
        "input": "Int8",
        "weight": "Int8",
        "output": "Float",
    }
    assert tensorrt_worker.engine_layers(["noise"]) is None
