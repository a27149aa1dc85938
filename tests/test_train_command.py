"""``mnistkit train`` as a user types it: settings files, budgets, a kill, several processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mnistkit.runs.source import load_run

TRAIN = ("-m", "mnistkit", "train", "--dataset", "digits", "--threads", "1")
PNG = b"\x89PNG"


def train(*arguments: object, launcher: tuple[str, ...] = ()) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *launcher, *TRAIN, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def weights_hash(run: Path) -> str:
    return hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()


def test_a_run_killed_in_its_third_epoch_resumes_to_the_same_weights(tmp_path: Path) -> None:
    settings = ("--net", "nano", "--epochs", 5, "--seed", 3)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert train(*settings, "--out", whole)[0] == 0
    process = subprocess.Popen(
        [sys.executable, *TRAIN, *map(str, settings), "--out", str(cut)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    metrics, deadline = cut / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) == 2):
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (cut / "summary.json").exists()
    code, out, _ = train(*settings, "--out", cut, "--resume")
    assert (code, "after 5 epochs" in out) == (0, True)
    assert weights_hash(cut) == weights_hash(whole)


def test_two_processes_reach_the_accuracy_of_one(tmp_path: Path) -> None:
    settings = ("--net", "small", "--epochs", 6, "--batch-size", 32)
    one, two = tmp_path / "one", tmp_path / "two"
    assert train(*settings, "--out", one)[0] == 0
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    code, out, errors = train(*settings, "--out", two, launcher=launcher)
    assert code == 0, errors
    assert out.count("test accuracy") == 1  # the second process is silent
    summaries = [json.loads((run / "summary.json").read_text()) for run in (one, two)]
    assert [summary["processes"] for summary in summaries] == [1, 2]
    accuracies = [summary["test_accuracy"] for summary in summaries]
    # The spread of this short run over seeds is about 1.5 points.
    assert accuracies[0] > 0.85
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.05)
    assert weights_hash(one) != weights_hash(two)


def test_a_batch_smaller_than_the_processes_is_refused(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    code, _, errors = train("--batch-size", 1, "--out", tmp_path / "r", launcher=launcher)
    assert code != 0
    assert "cannot be shared by 2 processes" in errors


def test_a_settings_file_stands_behind_the_options(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    recipe = {"epochs": 3, "batch_size": 64, "peak_lr": 0.07}
    file.write_text(json.dumps({"net": "nano", "seed": 7, "recipe": recipe}))
    run = tmp_path / "run"
    code, _, errors = train("--config", file, "--epochs", 1, "--out", run)
    assert code == 0, errors
    used = json.loads((run / "config.json").read_text())
    assert used["net"]["name"] == "nano"
    assert used["seed"] == 7
    assert {key: used["recipe"][key] for key in recipe} == {**recipe, "epochs": 1}
    # The saved settings make the same run again.
    again = tmp_path / "again"
    assert train("--config", run / "config.json", "--out", again)[0] == 0
    assert weights_hash(again) == weights_hash(run)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"nett": "nano"}', "unknown setting nett; known settings: net, recipe"),
        ('{"recipe": {"peek_lr": 1}}', "unknown setting peek_lr; known settings: .*peak_lr"),
        ('["nano"]', "wanted a JSON object"),
        ('{"net": "nono"}', "unknown net 'nono'; known nets: base"),
        ("{", "JSON"),
    ],
)
def test_a_bad_settings_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    import re

    file = tmp_path / "settings.json"
    file.write_text(text)
    code, _, errors = train("--config", file, "--out", tmp_path / "r")
    assert code == 2
    assert re.search(message, errors)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--max-params", 10000), "base has 18,554 parameters, over the budget of 10,000"),
        (("--max-epochs", 10), "19 epochs are over the budget of 10"),
        (("--config", "missing.json"), "missing.json is not a file"),
    ],
)
def test_what_is_over_budget_is_refused_at_once(
    tmp_path: Path, arguments: tuple, message: str
) -> None:
    code, _, errors = train(*arguments, "--out", tmp_path / "r")
    assert code == 2
    assert message in errors
    assert not (tmp_path / "r").exists()


def test_pictures_events_and_mixed_precision(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    settings = ("--net", "nano", "--epochs", 4, "--mixed-precision", "--tensorboard")
    code, _, errors = train(*settings, "--hold-out", 100, "--out", run)
    assert code == 0, errors
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        assert (run / name).read_bytes().startswith(PNG)
    assert json.loads((run / "summary.json").read_text())["test_accuracy"] > 0.8
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4]
    state = load_run(run).state
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {
        torch.float32
    }


def test_a_refused_run_writes_no_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    assert train("--net", "nano", "--epochs", 1, "--out", run)[0] == 0
    before = sorted(run.iterdir())
    code, _, errors = train("--net", "nano", "--epochs", 1, "--tensorboard", "--out", run)
    assert (code, "--resume" in errors) == (2, True)
    assert sorted(run.iterdir()) == before


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_ctrl_c_leaves_a_usable_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    # Tests that a shell runs in the background ignore SIGINT, and so would their children.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, *TRAIN, "--net", "nano", "--epochs", "500", "--out", str(run)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 120
    while not (run / "metrics.jsonl").is_file():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert "interrupted" in out
    assert load_run(run).summary["interrupted"]
