"""What each setting of a recipe does, measured on nets that are trained here."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mnistkit.data.sets import ImageSet, batches
from mnistkit.nets import zoo
from mnistkit.nets.deploy_module import DeployNet
from mnistkit.nets.module import DigitNet
from mnistkit.runs import checkpoint
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import Recipe
from mnistkit.runs.source import load_run
from mnistkit.training import loop
from mnistkit.training.augment import Augment
from mnistkit.training.average import WeightAverage
from mnistkit.training.distillation import Teacher
from mnistkit.training.distributed import Workers
from mnistkit.training.metrics import evaluate
from mnistkit.training.muon import Muon
from mnistkit.training.optimizers import optimizers_for
from mnistkit.training.schedule import one_cycle

SHORT = Recipe(epochs=2, batch_size=64, ema_decay=0.9, peak_lr=0.1)
STILL = Recipe(rotation=0, shift=0, scale=0, shear=0)


def trained(
    folder: Path,
    digits: ImageSet,
    *,
    teacher: Path | None = None,
    hold_out: int = 0,
    **changes: Any,
) -> tuple[Path, list[dict[str, Any]]]:
    """A run of nano, and the lines of its metrics."""
    known = None if teacher is None else str(teacher)
    config = RunConfig(
        zoo.get("nano"), SHORT.replace(**changes), "digits", 1, hold_out=hold_out, teacher=known
    )
    loop.train(config, digits, digits, folder)
    lines = (folder / checkpoint.METRICS).read_text().splitlines()
    return folder, [json.loads(line) for line in lines]


# ---- Optimizers --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["base", "nano"])
def test_weight_decay_is_for_weights_alone(name: str) -> None:
    net = DigitNet(zoo.get(name))
    (sgd,) = optimizers_for(net, Recipe(weight_decay=0.01))
    decays = {id(p): group["weight_decay"] for group in sgd.param_groups for p in group["params"]}
    assert len(decays) == len(list(net.parameters()))
    for module in net.modules():
        for key, parameter in module.named_parameters(recurse=False):
            is_weight = key == "weight" and not isinstance(module, torch.nn.BatchNorm2d)
            assert decays[id(parameter)] == (0.01 if is_weight else 0.0)


def test_a_step_of_sgd_is_nesterovs() -> None:
    net = DigitNet(zoo.get("nano"))
    (sgd,) = optimizers_for(net, Recipe(peak_lr=0.1, momentum=0.9, weight_decay=0))
    weight = next(net.parameters())
    before = weight.detach().clone()
    for step in (0.1 * (1 + 0.9), 0.1 * (1 + 0.9 + 0.9**2)):  # of gradients that are one
        weight.grad = torch.ones_like(weight)
        sgd.step()
        assert torch.allclose(before - weight, torch.full_like(weight, step), atol=1e-5)
        before = weight.detach().clone()


def test_muon_keeps_the_norm_and_turns_by_its_rate() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 4, 3, 3, requires_grad=True)
    before = weight.detach() * (8**0.5 / float(weight.detach().norm()))
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=0.1, momentum=0.95).step()
    step = before - weight.detach()
    # An orthogonal update: each of the eight rows about as long as the rate.
    assert float(step.norm()) == pytest.approx(0.1 * 8**0.5, rel=0.2)
    assert float((step * weight.grad).sum()) > 0  # downhill


def test_the_schedule_ends_at_zero() -> None:
    rates = [one_cycle(step, 100, 0.1, 0.2) for step in range(100)]
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    assert rates[0] == pytest.approx(0.1 * (0.04 + 0.96 / 20))
    assert rates[59] == pytest.approx(0.05)  # half of the way down


def test_the_average_moves_by_what_the_decay_leaves() -> None:
    for step, decay, wanted in ((1000, 0.9, 0.1), (0, 0.9, 0.9), (5, 0.999, 1 - 6 / 15)):
        net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(net.weight)
        average = WeightAverage(net, decay)
        torch.nn.init.ones_(net.weight)
        average.update(step)
        assert float(average.average.weight) == pytest.approx(wanted)


# ---- The loss ----------------------------------------------------------------------------------


def test_label_smoothing_keeps_the_loss_up(tmp_path: Path, digits_train: ImageSet) -> None:
    """Against targets that are half uniform no net can go below their entropy."""
    _, plain = trained(tmp_path / "plain", digits_train, epochs=4)
    _, smooth = trained(tmp_path / "smooth", digits_train, epochs=4, label_smoothing=0.5)
    own, other = 0.55, 0.05
    entropy = -(own * math.log(own) + 9 * other * math.log(other))
    assert plain[-1]["loss"] < 1.2 < entropy < smooth[-1]["loss"]


def test_the_teachers_loss_grows_with_the_temperatures_square(
    run: Path, tmp_path: Path, digits_train: ImageSet
) -> None:
    """At 100 all answers are all but equal: a cross-entropy of ln 10, and its gradient tiny."""
    _, lines = trained(
        tmp_path / "hot", digits_train, teacher=run, epochs=1, distill=1.0, temperature=100.0
    )
    assert lines[0]["loss"] == pytest.approx(100**2 * math.log(10), rel=0.01)


def test_a_share_of_nought_is_no_teacher(run: Path, tmp_path: Path, digits_train: ImageSet) -> None:
    few = digits_train.subset(torch.arange(256))
    made = [
        trained(tmp_path / name, few, teacher=teacher, epochs=1, distill=share)[0]
        for name, teacher, share in (("a", None, 0.7), ("b", run, 0.0), ("c", run, 0.5))
    ]
    states = [load_run(folder).state["layers.0.weight"] for folder in made]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_a_teachers_answers_are_softened(run: Path, digits_test: ImageSet) -> None:
    graph = load_run(run).graph()
    images = digits_test.images[:16]
    with torch.inference_mode():
        wanted = (DeployNet(graph)(images) / 4).softmax(1)
    got = Teacher(graph, temperature=4.0).answers(images.float() / 255)
    assert torch.allclose(got, wanted, atol=1e-4)


# ---- The data ----------------------------------------------------------------------------------


def test_batches_are_a_new_order_of_all_images() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.cat(list(batches(100, 20, generator))).tolist() for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert first != sorted(first)


def test_each_epoch_has_draws_of_its_own(
    tmp_path: Path, digits_train: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[torch.Tensor] = []
    distort = Augment.__call__

    def spy(self: Augment, images: torch.Tensor, draws: torch.Generator) -> torch.Tensor:
        shown.append(images)
        return distort(self, images, draws)

    monkeypatch.setattr(Augment, "__call__", spy)
    trained(tmp_path / "r", digits_train.subset(torch.arange(192)))
    assert len(shown) == 6
    assert not torch.equal(torch.cat(shown[:3]), torch.cat(shown[3:]))


def test_held_out_images_are_not_trained_on(tmp_path: Path, digits_train: ImageSet) -> None:
    """Those that are held out have other labels than the picture's, and are not learnt."""
    some = digits_train.subset(torch.arange(1200))
    labels = some.labels.clone()
    labels[600:] = (labels[600:] + 1) % 10
    mixed = dataclasses.replace(some, labels=labels)
    settings = {"epochs": 8, "batch_size": 32}
    _, lines = trained(tmp_path / "r", mixed, hold_out=600, **settings)
    assert lines[-1]["hold_out_accuracy"] < 0.1


def test_what_is_scored_is_what_is_saved(run: Path, digits_test: ImageSet) -> None:
    """The averaged weights: what the summary says is what the files give."""
    source = load_run(run)
    net = DigitNet(source.spec)
    net.load_state_dict(source.state)
    score = evaluate(net, digits_test, torch.device("cpu"))
    assert score.correct == source.summary["test_correct"]
    assert score.loss == pytest.approx(source.summary["test_loss"], rel=1e-4)


def test_workers_share_a_batch() -> None:
    rows = torch.arange(10)
    parts = [Workers(rank, 3).share(rows) for rank in range(3)]
    assert {len(part) for part in parts} == {3}  # equally large; the tenth is left out
    assert sorted(torch.cat(parts).tolist()) == list(range(9))


_WORKER = """
import sys
import torch
from mnistkit.training.distributed import from_environment, joined

workers = from_environment()
with joined(workers, "cpu", 8):
    torch.manual_seed(0)
    net, images = torch.nn.Linear(5, 1), torch.randn(8, 5)
    parallel = workers.parallel(net)
    parallel(images[workers.share(torch.arange(8))]).square().mean().backward()
    torch.save(net.weight.grad, f"{sys.argv[1]}/{workers.rank}.pt")
"""


def test_gradients_are_the_mean_over_the_workers(tmp_path: Path) -> None:
    script = tmp_path / "worker.py"
    script.write_text(_WORKER)
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    subprocess.run([*launcher, str(script), str(tmp_path)], check=True, capture_output=True)
    torch.manual_seed(0)
    net, images = torch.nn.Linear(5, 1), torch.randn(8, 5)
    net(images).square().mean().backward()
    for rank in range(2):
        assert torch.allclose(torch.load(tmp_path / f"{rank}.pt"), net.weight.grad, atol=1e-6)


# ---- Augmentation ------------------------------------------------------------------------------


def drawn(**changes: float) -> torch.Tensor:
    """A thousand affine matrices ``(N, 2, 3)`` of a recipe that does one thing alone."""
    augment = Augment(STILL.replace(**changes), torch.device("cpu"))
    return augment._affine(1000, torch.Generator().manual_seed(0))


def test_shifts_are_in_pixels() -> None:
    pixels = drawn(shift=2.0)[:, :, 2] * 14  # -1..1 are 28 pixels
    assert 1.9 < float(pixels.abs().max()) <= 2
    assert torch.allclose(drawn(shift=2.0)[:, :, :2], torch.eye(2).expand(1000, 2, 2))


def test_rotations_are_in_degrees() -> None:
    matrices = drawn(rotation=10.0)[:, :, :2]
    assert torch.allclose(matrices @ matrices.transpose(1, 2), torch.eye(2), atol=1e-5)
    degrees = torch.rad2deg(torch.atan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    assert 9.5 < float(degrees.max()) <= 10
    assert -10 <= float(degrees.min()) < -9.5


def test_scales_are_of_each_axis() -> None:
    matrices = drawn(scale=0.1)[:, :, :2]
    across, down = matrices[:, 0, 0], matrices[:, 1, 1]
    for axis in (across, down):
        assert 0.9 <= float(axis.min()) < 0.91
        assert 1.09 < float(axis.max()) <= 1.1
    assert not torch.allclose(across, down)


def test_a_shear_slants_and_keeps_the_area() -> None:
    matrices = drawn(shear=0.15)[:, :, :2]
    assert torch.allclose(torch.linalg.det(matrices), torch.ones(1000), atol=1e-5)
    assert 0.14 < float(matrices[:, 0, 1].abs().max()) <= 0.15
    assert float(matrices[:, 1, 0].abs().max()) == 0


def test_elastic_distortion_moves_by_its_size(digits_test: ImageSet) -> None:
    images = digits_test.images[:8]
    generator = torch.Generator().manual_seed(0)
    augment = Augment(STILL.replace(elastic=0.5), torch.device("cpu"))
    field = augment._elastic(200, generator) * 14
    assert 0.3 < float(field.std()) < 0.6  # of normal draws on a coarse grid, made smooth
    near = (field[:, :, 1:] - field[:, :, :-1]).std()
    assert float(near) < 0.5 * float(field.std())
    assert not torch.allclose(augment(images, generator), images.float() / 255, atol=0.05)
