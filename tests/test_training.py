"""Training: it learns, resumes to the bit, stops cleanly, and refuses what cannot work."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch
from mnistkit.common.errors import ArtifactError, CheckError, MissingError, UsageError
from mnistkit.data.sets import ImageSet
from mnistkit.nets import zoo
from mnistkit.nets.module import DigitNet
from mnistkit.nets.spec import NetSpec
from mnistkit.runs import checkpoint
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import Recipe
from mnistkit.runs.source import load_run, resolve
from mnistkit.training import loop
from mnistkit.training.augment import Augment
from mnistkit.training.average import WeightAverage
from mnistkit.training.muon import orthogonal
from mnistkit.training.optimizers import optimizers_for
from mnistkit.training.schedule import one_cycle

SHORT = Recipe(epochs=3, batch_size=64, ema_decay=0.9)


def config(**changes: object) -> RunConfig:
    return RunConfig(zoo.get("nano"), SHORT.replace(**changes), "digits", seed=1)


def weights_hash(run: Path) -> str:
    return hashlib.sha256((run / checkpoint.WEIGHTS).read_bytes()).hexdigest()


def test_a_run_learns_and_leaves_its_figures(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    fields = "net params dataset epochs seed test_correct test_total test_accuracy seconds"
    assert set(fields.split()) | {"images_per_second", "device", "versions"} <= set(summary)
    assert summary["test_accuracy"] > 0.85  # ten classes: chance is 0.1
    assert summary["test_accuracy"] == summary["test_correct"] / summary["test_total"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert not [path for path in run.iterdir() if path.suffix in (".pt", ".pth", ".pkl")]


def test_equal_seeds_give_equal_weights_and_others_do_not(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    few = digits_train.subset(torch.arange(256))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        loop.train(
            RunConfig(zoo.get("nano"), SHORT, "digits", seed), few, digits_test, tmp_path / name
        )
    assert weights_hash(tmp_path / "a") == weights_hash(tmp_path / "b")
    assert weights_hash(tmp_path / "a") != weights_hash(tmp_path / "c")


def test_a_stopped_run_resumes_to_the_same_weights(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    few = digits_train.subset(torch.arange(320))
    loop.train(config(), few, digits_test, tmp_path / "whole")

    def stop(state: loop.Progress) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt

    cut = tmp_path / "cut"
    summary = loop.train(config(), few, digits_test, cut, on_step=stop)
    assert summary["interrupted"]
    assert summary["epochs"] == 1
    assert load_run(cut).summary["test_total"] == len(digits_test)  # usable as it is
    resumed = loop.train(config(), few, digits_test, cut, resume=True)
    assert resumed["epochs"] == 3
    assert weights_hash(cut) == weights_hash(tmp_path / "whole")
    assert len((cut / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_is_not_written_over(
    run: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    with pytest.raises(UsageError, match="--resume"):
        loop.train(config(), digits_train, digits_test, run)


def test_resuming_another_run_is_refused_with_what_differs(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    run, first = tmp_path / "r", config(epochs=1)
    loop.train(first, digits_train, digits_test, run)

    def refused(other: RunConfig) -> str:
        with pytest.raises(ArtifactError) as caught:
            loop.train(other, digits_train, digits_test, run, resume=True)
        return str(caught.value)

    told = refused(dataclasses.replace(config(epochs=1, peak_lr=0.5), seed=2))
    assert "was started with seed 1 (not 2), peak_lr 0.05 (not 0.5); resume it with" in told
    told = refused(dataclasses.replace(first, spec=zoo.get("small")))
    assert "started with net nano (not small);" in told
    layers = NetSpec("nano", zoo.get("small").layers, "the layers of another")
    assert "started with other layers;" in refused(dataclasses.replace(first, spec=layers))
    renamed = NetSpec("nano", zoo.get("nano").layers, "other words")
    assert "started with another description;" in refused(dataclasses.replace(first, spec=renamed))


def test_a_loss_that_is_not_finite_stops_with_the_place(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    # A decay that is larger than the weights: each step makes them some hundred times as large.
    settings = config(peak_lr=100.0, weight_decay=1.0)
    with pytest.raises(CheckError, match=r"loss became .* in epoch \d+, step \d+.*Lower --lr"):
        loop.train(settings, digits_train, digits_test, tmp_path / "r")


def test_the_hold_out_is_scored_each_epoch(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    held = RunConfig(zoo.get("nano"), SHORT.replace(epochs=1), "digits", 0, hold_out=200)
    loop.train(held, digits_train, digits_test, tmp_path / "r")
    line = json.loads((tmp_path / "r" / "metrics.jsonl").read_text())
    assert 0 <= line["hold_out_accuracy"] <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs must be between"),
        ({"epochs": 1.5}, "epochs must be a whole number"),
        ({"copies": 0}, "copies must be between"),
        ({"peak_lr": float("nan")}, "peak_lr"),
        ({"learning_rate": 0.1}, "unknown setting learning_rate; known settings: .*peak_lr"),
    ],
)
def test_a_bad_recipe_is_refused(change: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe().replace(**change)
    with pytest.raises(UsageError, match=message):
        Recipe.from_dict({**Recipe().to_dict(), **change})


def test_a_checkpoint_of_another_net_is_refused(run: Path) -> None:
    with pytest.raises(ArtifactError, match="weights of net 'small'"):
        checkpoint.load_weights(run / checkpoint.WEIGHTS, zoo.get("base"))


def test_a_damaged_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / checkpoint.WEIGHTS
    damaged.write_bytes((run / checkpoint.WEIGHTS).read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="not a whole safetensors file"):
        checkpoint.load_weights(damaged, zoo.get("small"))


def test_an_unknown_source_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="neither a training run's folder nor a pretrained net"):
        resolve("no-such-net")
    with pytest.raises(UsageError, match="not a training run"):
        resolve(str(tmp_path))


def test_the_schedule_rises_to_its_peak_and_falls_to_zero() -> None:
    rates = [one_cycle(step, 100, 0.1, 0.2) for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 19
    assert rates[-1] < 1e-4
    assert rates[:20] == sorted(rates[:20])
    assert rates[20:] == sorted(rates[20:], reverse=True)


def test_augmentation_without_distortion_is_scaling_alone(digits_test: ImageSet) -> None:
    still = Recipe(rotation=0, shift=0, scale=0, shear=0)
    images = digits_test.images[:8]
    made = Augment(still, torch.device("cpu"))(images, torch.Generator().manual_seed(0))
    assert torch.allclose(made, images.float() / 255, atol=1e-5)


def test_augmentation_moves_each_image_its_own_way(digits_test: ImageSet) -> None:
    same = digits_test.images[:1].repeat(16, 1, 1, 1)
    augment = Augment(Recipe(elastic=0.5), torch.device("cpu"))
    made = augment(same, torch.Generator().manual_seed(0))
    again = augment(same, torch.Generator().manual_seed(0))
    assert torch.equal(made, again)
    assert len({tuple(image.flatten().tolist()) for image in made}) == 16
    assert 0 <= float(made.min()) <= float(made.max()) <= 1 + 1e-6


def test_a_step_takes_each_image_in_several_distortions(
    tmp_path: Path,
    digits_train: ImageSet,
    digits_test: ImageSet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[tuple[torch.Tensor, torch.Tensor]] = []
    distort = Augment.__call__

    def spy(self: Augment, images: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        shown.append((images, distort(self, images, draws)))
        return shown[-1][1]

    monkeypatch.setattr(Augment, "__call__", spy)
    few = digits_train.subset(torch.arange(200))
    loop.train(config(epochs=1, copies=2), few, digits_test, tmp_path / "r")
    assert len(shown) == 3  # as many steps as without copies
    for images, distorted in shown:
        assert len(images) == 2 * 64
        assert torch.equal(images[:64], images[64:])
        assert not torch.equal(distorted[:64], distorted[64:])


def test_the_average_trails_the_weights() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    average = WeightAverage(net, decay=0.5)
    torch.nn.init.ones_(net.weight)
    average.update(step=1000)
    assert float(average.average.weight) == pytest.approx(0.5)


def test_an_orthogonal_matrix_is_near() -> None:
    torch.manual_seed(0)
    for shape in ((6, 20), (20, 6), (5, 5)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert 0.5 < float(values.min()) <= float(values.max()) < 1.3
    matrix = torch.randn(4, 9)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    assert float((orthogonal(matrix) * (left @ right)).sum()) > 0.8 * 4  # the nearest one


def test_muon_takes_the_convolutions_before_norms_alone() -> None:
    nano = DigitNet(zoo.get("nano"))
    sgd, muon = optimizers_for(nano, Recipe(muon=0.02))
    taken = [weight for group in muon.param_groups for weight in group["params"]]
    dense = [m for m in nano.layers if isinstance(m, torch.nn.Conv2d) and m.groups == 1]
    assert {id(weight) for weight in taken} == {id(m.weight) for m in dense}
    others = [weight for group in sgd.param_groups for weight in group["params"]]
    assert len(taken) + len(others) == len(list(nano.parameters()))
    assert len(optimizers_for(nano, Recipe())) == 1


def test_muon_learns_and_resumes_to_the_same_weights(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    settings = RunConfig(zoo.get("small"), SHORT.replace(muon=0.02, epochs=4), "digits", seed=1)
    whole = loop.train(settings, digits_train, digits_test, tmp_path / "whole")
    assert whole["test_accuracy"] > 0.85

    def stop(state: loop.Progress) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    cut = tmp_path / "cut"
    loop.train(settings, digits_train, digits_test, cut, on_step=stop)
    loop.train(settings, digits_train, digits_test, cut, resume=True)
    assert weights_hash(cut) == weights_hash(tmp_path / "whole")
