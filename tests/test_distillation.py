"""Distillation: what a student learns, it can learn from its teacher's answers alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from mnistkit.common.errors import MissingError, UsageError
from mnistkit.data.sets import ImageSet
from mnistkit.nets import zoo
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.recipe import Recipe
from mnistkit.runs.source import load_run
from mnistkit.training import loop
from mnistkit.training.distillation import Teacher

SHORT = Recipe(epochs=3, batch_size=32, ema_decay=0.9, peak_lr=0.1, distill=1.0)


def test_a_teacher_alone_is_enough(
    run: Path, tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    """Every label is false; the teacher knows better."""
    false = dataclasses.replace(digits_train, labels=torch.zeros_like(digits_train.labels))
    taught = RunConfig(zoo.get("nano"), SHORT, "digits", seed=0, teacher=str(run))
    untaught = dataclasses.replace(taught, teacher=None)
    with_teacher = loop.train(taught, false, digits_test, tmp_path / "taught")
    without = loop.train(untaught, false, digits_test, tmp_path / "untaught")
    assert with_teacher["test_accuracy"] > 0.7
    assert without["test_accuracy"] < 0.2
    assert json.loads((tmp_path / "taught" / "config.json").read_text())["teacher"] == str(run)


def test_a_student_that_answers_as_its_teacher_has_the_least_loss(run: Path) -> None:
    graph = load_run(run).graph()
    teacher = Teacher(graph, temperature=2.0)
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    answers = teacher.answers(images)
    assert torch.allclose(answers.sum(1), torch.ones(4))
    same = 2 * answers.log()
    least = -(answers * answers.log()).sum(1).mean()
    assert torch.isclose(teacher.loss(same, images), least, atol=1e-5)
    assert teacher.loss(same.flip(1), images) > least
    rounded = Teacher(graph, temperature=2.0, mixed_precision=True).answers(images)
    assert torch.allclose(rounded, answers, atol=0.03)


def test_a_teacher_that_saw_the_held_out_images_is_refused(
    run: Path, tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    config = RunConfig(zoo.get("nano"), SHORT, "digits", 0, hold_out=200, teacher=str(run))
    with pytest.raises(UsageError, match="has seen the images that --hold-out 200 keeps"):
        loop.train(config, digits_train, digits_test, tmp_path / "r")


def test_a_teacher_that_is_not_there_is_named(
    tmp_path: Path, digits_train: ImageSet, digits_test: ImageSet
) -> None:
    config = RunConfig(zoo.get("nano"), SHORT, "digits", seed=0, teacher="nobody")
    with pytest.raises(MissingError, match="'nobody' is neither a training run"):
        loop.train(config, digits_train, digits_test, tmp_path / "r")
