"""The second edition of the int8 definition: no pair of products exceeds 16 bits, and what is
said of files of the first edition, of a broken rule and of editions to come.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from engine_nets import NETS, graphs, pictures
from first_edition import first_edition
from hypothesis import given, settings
from hypothesis import strategies as st
from mnistkit import backends
from mnistkit.artifact.edition import EditionWarning
from mnistkit.artifact.folder import Artifact, file_entry, write_manifest
from mnistkit.backends.engine import EngineApi
from mnistkit.common.errors import ArtifactError
from mnistkit.export import native
from mnistkit.quantization import reference, store
from mnistkit.quantization.graph import (
    PAIR_MAX,
    Int8Conv,
    Int8Graph,
    largest_pair,
    quantize_weight,
)
from mnistkit.quantization.store import of_source
from mnistkit.runs.source import pretrained_names, resolve
from numpy.typing import NDArray

# ---- The rule ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "most"),
    [([64, 64, -128], 128), ([-70, 3, -60, 9], 130), ([127], 127), ([-5, 4], 5), ([0, 0], 0)],
)
def test_the_largest_pair_is_of_one_sign(weights: list[int], most: int) -> None:
    weight = np.array(weights, np.int8).reshape(1, -1, 1, 1)
    assert largest_pair(weight).tolist() == [most]
    assert largest_pair(weight.astype(np.float32)).tolist() == [most]


def weights_of(seed: int, spread: float, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights with a few large ones among many small ones, the more so the larger ``spread``."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) * np.exp(spread * rng.standard_normal(shape))
    return np.asarray(values, np.float32)


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5))


@given(st.integers(0, 2**32 - 1), st.floats(0, 4), SHAPES, st.floats(0, 1e4))
@settings(max_examples=200, deadline=None)
def test_quantized_weights_keep_to_the_rule(
    seed: int, spread: float, shape: tuple[int, ...], bias: float
) -> None:
    weight = weights_of(seed, spread, shape)
    integers, scale = quantize_weight(
        weight, np.full(len(weight), bias, np.float32), np.float32(0.01)
    )
    assert (largest_pair(integers) <= PAIR_MAX).all()
    assert (np.abs(integers.astype(int)) <= 127).all()
    # Each weight is at the nearest integer of its channel's scale: nothing was clipped.
    error = np.abs(integers * scale[:, None, None, None] - weight)
    assert (error <= 0.501 * scale[:, None, None, None]).all()


def test_a_channel_uses_what_the_rule_leaves() -> None:
    """A coarser scale than needed would pass the rule, and lose accuracy."""
    for seed in range(50):
        weight = weights_of(seed, 0.5, (8, 4, 3, 3))
        integers, _ = quantize_weight(weight, np.zeros(8, np.float32), np.float32(0.01))
        assert (largest_pair(integers) > PAIR_MAX / 1.35).all()


def added_in_16_bits(
    activations: NDArray[np.int64], weights: NDArray[np.int64]
) -> NDArray[np.int64]:
    """``vpmaddubsw``: products of neighbours, added with saturation to 16 bits."""
    products = activations * weights
    return np.clip(products[..., 0::2] + products[..., 1::2], -(2**15), 2**15 - 1)


@st.composite
def channels_at_the_bound(draw: st.DrawFn) -> NDArray[np.int64]:
    """The weights of one output channel, the largest of each sign at the rule's bound."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sides = []
    for sign in (1, -1):
        large = draw(st.integers(64, 127))
        rest = rng.integers(0, PAIR_MAX - large + 1, draw(st.integers(1, 20)))
        sides += [[sign * large], [sign * (PAIR_MAX - large)], sign * rest]
    weights = np.concatenate(sides)
    assert largest_pair(weights.reshape(1, -1)) == PAIR_MAX
    rng.shuffle(weights)  # whichever neighbours a runtime pairs
    return weights[: len(weights) // 2 * 2]


# What a runtime may carry: integers 0..127 as they are, 0..255 of its own scale or with zero point
# 128, and magnitudes with the sign moved to the weights.
@given(channels_at_the_bound(), st.integers(0, 2**32 - 1), st.sampled_from([127, 128, 255]))
@settings(max_examples=300, deadline=None)
def test_no_pair_saturates(weights: NDArray[np.int64], seed: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    for activations in (
        np.full(weights.shape, largest),
        np.where(weights > 0, largest, 0),
        np.where(weights < 0, largest, 0),
        rng.integers(0, largest + 1, weights.shape),
    ):
        signs = rng.choice((-1, 1), weights.shape) if largest == 128 else 1
        pairs = added_in_16_bits(activations, weights * signs)
        if largest == 128:  # pairs of two signs: at most 128 * (127 + 127), which 16 bits hold
            exact = (activations * weights * signs).reshape(-1, 2).sum(1)
        else:
            exact = (activations * weights).reshape(-1, 2).sum(1)
        np.testing.assert_array_equal(pairs, exact)


def test_the_bound_is_the_last_that_holds() -> None:
    full = np.array([255, 255])
    for sign in (1, -1):
        held, broken = sign * np.array([64, 64]), sign * np.array([65, 64])
        assert added_in_16_bits(full, held).tolist() == [255 * sign * 128]
        assert added_in_16_bits(full, broken).tolist() != [255 * sign * 129]


@pytest.mark.parametrize("name", pretrained_names())
def test_the_package_has_the_second_edition(name: str) -> None:
    int8, origin = of_source(resolve(name))
    assert int8.edition == 2
    assert origin["method"] == "qat"
    for op in int8.ops:
        if isinstance(op, Int8Conv):
            assert (largest_pair(op.weight) <= PAIR_MAX).all()


# ---- Files of the first edition ----------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_the_engine_runs_the_first_edition_exactly(api: EngineApi, name: str) -> None:
    graph, images = first_edition(graphs(name)[1]), pictures()[:20]
    assert max(int(largest_pair(op.weight).max()) for op in convs(graph)) > PAIR_MAX
    wanted = reference.logits(graph, images)
    for kernels in (kernels.name for kernels in api.kernels() if kernels.supported):
        with api.open_bytes(native.render(graph, "int8"), kernels) as predictor:
            assert predictor.edition == 1
            np.testing.assert_array_equal(predictor.logits(images), wanted, kernels)


def test_the_engine_tells_the_edition(api: EngineApi) -> None:
    graph, int8 = graphs("nano")
    assert api.open_bytes(native.render(int8, "int8")).edition == 2
    assert api.open_bytes(native.render(graph, "fp32")).edition == 0


def convs(graph: Int8Graph) -> list[Int8Conv]:
    return [op for op in graph.ops if isinstance(op, Int8Conv)]


def broken_rule() -> Int8Graph:
    """A net of the second edition with one pair of 65 and 64, made behind the check's back."""
    int8 = graphs("nano")[1]
    first = convs(int8)[0]
    weight = first.weight.copy()
    weight[0] = 0
    weight[0].flat[:2] = 65, 64
    ops = (dataclasses.replace(first, weight=weight), *int8.ops[1:])
    made = Int8Graph(int8.spec, ops, edition=1)
    object.__setattr__(made, "edition", 2)
    return made


def test_a_file_that_breaks_the_rule_is_refused(api: EngineApi, tmp_path: Path) -> None:
    broken = broken_rule()
    with pytest.raises(ArtifactError, match=r"'conv0'.*add up to 129.*allows 128"):
        Int8Graph(broken.spec, broken.ops)
    path = tmp_path / "int8.safetensors"
    store.write(path, broken, {})
    with pytest.raises(ArtifactError, match=r"int8\.safetensors.*'conv0'.*add up to 129"):
        store.read(path)
    with pytest.raises(ArtifactError, match=r"^rule 26 of the \.mnk format: two weights"):
        api.open_bytes(native.render(broken, "int8"))
    object.__setattr__(broken, "edition", 1)  # the rule is the second edition's alone
    api.open_bytes(native.render(broken, "int8")).close()


@pytest.mark.parametrize("edition", [0, 3, "2", None])
def test_an_unknown_edition_is_refused(tmp_path: Path, edition: object) -> None:
    path = tmp_path / "int8.safetensors"
    made = graphs("nano")[1]
    copied = Int8Graph(made.spec, made.ops)
    object.__setattr__(copied, "edition", edition)
    store.write(path, copied, {})
    with pytest.raises(ArtifactError, match=r"int8\.safetensors: int8 edition .* mnistkit quant"):
        store.read(path)


def test_an_unknown_edition_of_mnk_is_newer(api: EngineApi) -> None:
    data = bytearray(native.render(graphs("nano")[1], "int8"))
    struct.pack_into("<I", data, 8, 3)
    with pytest.raises(ArtifactError, match=r"^rule 2 .*version is not 1 or 2; update mnistkit"):
        api.open_bytes(bytes(data))


def test_a_run_of_the_first_edition_says_so(tmp_path: Path) -> None:
    path = tmp_path / "int8.safetensors"
    store.write(path, first_edition(graphs("nano")[1]), {})
    data = path.read_bytes().replace(b'\\"edition\\": 1, ', b"")  # as 0.1.0 wrote it
    size = struct.unpack_from("<Q", data)[0]
    lost = path.stat().st_size - len(data)
    path.write_bytes(struct.pack("<Q", size - lost) + data[8:])
    with pytest.warns(EditionWarning, match=r"edition 1.*mnistkit quantize RUN --out RUN-int8"):
        graph, _ = store.read(path)
    assert graph.edition == 1


def altered(artifact: Artifact, folder: Path, edition: object) -> Artifact:
    """A copy of the artifact whose manifest says another edition; None: none."""
    shutil.copytree(artifact.path, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    if edition is None:
        del manifest["int8_edition"]
    else:
        manifest["int8_edition"] = edition
    path.write_text(json.dumps(manifest))
    return Artifact.open(folder)


@pytest.mark.parametrize("name", backends.NAMES)
def test_every_loader_tells_of_an_artifact_of_the_first_edition(
    artifact: Artifact, tmp_path: Path, name: str
) -> None:
    backend = backends.get(name)
    if reason := backend.available() or backend.refuses("int8", "cpu"):
        pytest.skip(f"{name}: {reason}")
    if (backend.format, "int8") not in artifact.formats():
        pytest.skip(f"{name}: the test artifact holds no int8 {backend.format}")
    old = altered(artifact, tmp_path / "old", None)
    assert old.int8_edition == 1
    with pytest.warns(EditionWarning, match="mnistkit quantize"):
        backend.load(old, "int8", "cpu", threads=1).close()
    newer = altered(artifact, tmp_path / "newer", 3)
    with pytest.raises(ArtifactError, match="int8 edition 3, this mnistkit knows up to 2"):
        backend.load(newer, "int8", "cpu", threads=1)


def test_an_export_says_its_edition(artifact: Artifact) -> None:
    assert artifact.int8_edition == artifact.manifest["int8_edition"] == 2
    path = artifact.file("native", "int8")
    assert struct.unpack_from("<I", path.read_bytes(), 8) == (2,)


def test_an_artifact_without_int8_has_no_edition(artifact: Artifact, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(artifact.path, tmp_path / "copy"))
    manifest = {k: v for k, v in artifact.manifest.items() if k not in ("int8_edition", "files")}
    kept = [e for e in artifact.files if e.format in ("weights", "golden")]
    entries = [file_entry(folder / e.name, e.format, e.precision) for e in kept]
    write_manifest(folder, {**manifest, "precisions": ["fp32"]}, entries)
    assert Artifact.open(folder).int8_edition is None
