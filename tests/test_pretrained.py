"""The weights in the package give the figures on their cards, on all 10,000 test images."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from mnistkit.data.sets import ImageSet
from mnistkit.export.onnx import render_int8
from mnistkit.nets import zoo
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.quantization import reference
from mnistkit.quantization.store import of_source
from mnistkit.runs.recipe import recipe_for
from mnistkit.runs.source import PRETRAINED, pretrained_accuracies, pretrained_names, resolve

RESULTS = Path(__file__).parents[1] / "docs" / "results"

# ImageSet of 10,000 that int8 may lose.
MAY_LOSE = {"nano": 8}


def test_the_package_brings_the_nets_of_its_documents() -> None:
    assert {"base", "small", "nano"} <= set(pretrained_names()) <= set(zoo.ZOO)
    assert pretrained_accuracies()["base"] > 0.995


@pytest.mark.parametrize("name", pretrained_names())
def test_the_card_is_whole(name: str) -> None:
    card = (PRETRAINED / name / "README.md").read_text()
    summary = resolve(name).summary
    assert f"{summary['test_correct']}/10000" in card
    for subject in ("Data", "Recipe", "Seed", "Accuracy", "Misses", "Limits", "Again"):
        assert f"**{subject}**" in card
    assert summary["epochs"] < 20
    assert resolve(name).spec == zoo.get(name)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("seeds-*.json")), ids=lambda path: path.stem)
def test_a_study_says_what_its_rows_say(path: Path) -> None:
    study = json.loads(path.read_text())
    spec, recipe = zoo.get(study["net"]), recipe_for(study["net"])
    assert (study["params"], study["multiply_adds"]) == (spec.params, spec.multiply_adds)
    assert (study["recipe"], study["epochs"]) == (recipe.to_dict(), recipe.epochs)
    assert [row["seed"] for row in study["rows"]] == list(range(10))
    accuracies = [row["test_correct"] / row["test_total"] for row in study["rows"]]
    assert study["mean_accuracy"] == pytest.approx(statistics.fmean(accuracies))
    assert study["std_accuracy"] == pytest.approx(statistics.stdev(accuracies))
    # What the package has is seed 0, and its card tells of the others.
    assert study["rows"][0]["test_correct"] == resolve(study["net"]).summary["test_correct"]
    card = (PRETRAINED / study["net"] / "README.md").read_text()
    assert f"Over 10 seeds the mean is {study['mean_accuracy']:.3%}" in card


@pytest.mark.parametrize("name", pretrained_names())
def test_accuracy_is_that_of_the_card(name: str, mnist_test: ImageSet) -> None:
    source = resolve(name)
    with torch.inference_mode():
        answers = DeployNet(source.graph())(mnist_test.images).argmax(1)
    assert int((answers == mnist_test.labels).sum()) == source.summary["test_correct"]


@pytest.mark.parametrize("name", pretrained_names())
def test_int8_keeps_the_accuracy(name: str, mnist_test: ImageSet, tmp_path) -> None:
    from mnistkit.backends.onnxruntime import open_session

    source = resolve(name)
    int8, _ = of_source(source)
    (tmp_path / "model.onnx").write_bytes(render_int8(int8))
    session = open_session(tmp_path / "model.onnx", threads=1)
    images, labels = mnist_test.images.numpy(), mnist_test.labels.numpy()
    answers = np.concatenate(
        [
            session.run(["logits"], {"input": images[at : at + 500]})[0].argmax(1)
            for at in range(0, len(images), 500)
        ]
    )
    lost = source.summary["test_correct"] - int((answers == labels).sum())
    assert lost <= MAY_LOSE.get(name, 5)
    # The specification itself is slow: it is held to a part of them.
    few = reference.logits(int8, images[:1000]).argmax(1)
    assert (few == answers[:1000]).mean() >= 0.999
