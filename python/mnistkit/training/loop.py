"""The training loop: reads top to bottom, one epoch at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mnistkit.common.environment import versions
from mnistkit.common.errors import ArtifactError, CheckError, UsageError
from mnistkit.common.paths import write_text
from mnistkit.data.sets import ImageSet, batches
from mnistkit.nets.module import DigitNet
from mnistkit.runs import checkpoint
from mnistkit.runs.checkpoint import RunConfig
from mnistkit.runs.source import resolve
from mnistkit.training.augment import Augment
from mnistkit.training.average import WeightAverage
from mnistkit.training.distillation import Teacher
from mnistkit.training.distributed import ALONE, Workers, joined
from mnistkit.training.metrics import evaluate
from mnistkit.training.optimizers import momentum_of, optimizers_for, restore_momentum
from mnistkit.training.schedule import one_cycle


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: ``step`` of ``steps``, the running loss, images a second."""

    epoch: int
    step: int
    steps: int
    loss: float
    lr: float
    images_per_second: float


ProgressHook = Callable[[Progress], None]
EpochHook = Callable[[dict[str, Any]], None]


def train(
    config: RunConfig,
    train_set: ImageSet,
    test_set: ImageSet,
    run: Path,
    *,
    device: str = "cpu",
    resume: bool = False,
    workers: Workers = ALONE,
    on_step: ProgressHook | None = None,
    on_epoch: EpochHook | None = None,
) -> dict[str, Any]:
    """Train one net into the folder ``run`` and return its summary (also ``summary.json``).

    With ``config.hold_out`` that many training images are kept back and scored each epoch; the
    test set is scored once, at the end. Ctrl-C ends training early and leaves a usable run, its
    summary marked ``interrupted``. A loss that is not finite is a :class:`CheckError` naming the
    epoch and step, with the last whole epoch's checkpoint kept. Of several ``workers`` the first
    alone writes, and its summary is the run's.
    """
    with joined(workers, device, config.recipe.batch_size):
        trainer = _Trainer(config, train_set, run, torch.device(device), workers)
        hooks = (on_step, on_epoch) if workers.first else (None, None)
        return _train(trainer, test_set, resume, *hooks)


def _train(
    trainer: _Trainer,
    test_set: ImageSet,
    resume: bool,
    on_step: ProgressHook | None,
    on_epoch: EpochHook | None,
) -> dict[str, Any]:
    config = trainer.config
    if resume:
        trainer.restore()
    else:
        trainer.start()
    interrupted = False
    started, done_before = time.perf_counter(), trainer.epoch
    try:
        while trainer.epoch < config.recipe.epochs:
            record = trainer.run_epoch(on_step)
            if on_epoch is not None:
                on_epoch(record)
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.perf_counter() - started
    if trainer.workers.first:
        trainer.save_weights()
    score = evaluate(trainer.average.average, test_set, trainer.device)
    epochs_run = trainer.epoch - done_before
    summary: dict[str, Any] = {
        "net": config.spec.name,
        "params": config.spec.params,
        "multiply_adds": config.spec.multiply_adds,
        "dataset": test_set.name,
        "epochs": trainer.epoch,
        "seed": config.seed,
        "test_correct": score.correct,
        "test_total": score.total,
        "test_accuracy": score.accuracy,
        "test_loss": score.loss,
        "seconds": round(seconds, 3),
        "images_per_second": round(epochs_run * len(trainer.train_set) / max(seconds, 1e-9), 1),
        "device": str(trainer.device),
        "threads": torch.get_num_threads(),
        "processes": trainer.workers.count,
        "interrupted": interrupted,
        "versions": versions("torch"),
    }
    if trainer.workers.first:
        checkpoint.write_json(trainer.run / checkpoint.SUMMARY, summary)
    return summary


class _Trainer:
    """The state of a run between epochs: everything that resuming needs, and nothing else."""

    def __init__(
        self,
        config: RunConfig,
        train_set: ImageSet,
        run: Path,
        device: torch.device,
        workers: Workers,
    ) -> None:
        self.config, self.run, self.device, self.workers = config, run, device, workers
        self.held_out: ImageSet | None = None
        if config.hold_out:
            train_set, self.held_out = train_set.hold_out(config.hold_out)
        self.train_set = train_set
        torch.manual_seed(config.seed)
        self.net = DigitNet(config.spec).to(device).to(memory_format=torch.channels_last)
        self.average = WeightAverage(self.net, config.recipe.ema_decay)
        self.parallel = workers.parallel(self.net)
        self.optimizers = optimizers_for(self.net, config.recipe)
        self.augment = Augment(config.recipe, device)
        self.teacher = _teacher(config, device)
        self.epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        return max(len(self.train_set) // self.config.recipe.batch_size, 1)

    def start(self) -> None:
        """Begin a fresh run: refuse to write over one that is there."""
        if not self.workers.first:
            return
        if (self.run / checkpoint.CONFIG).exists():
            raise UsageError(
                f"{self.run} holds a run already; go on with --resume, or name another --out"
            )
        checkpoint.write_json(self.run / checkpoint.CONFIG, self.config.to_dict())

    def restore(self) -> None:
        """Take up the run after its last whole epoch."""
        if differing := checkpoint.read_config(self.run).differing(self.config):
            raise ArtifactError(
                f"{self.run} was started with {differing}; resume it with the settings it has, or "
                f"name another --out"
            )
        if not (self.run / checkpoint.STATE).exists():
            return
        tensors, metadata = checkpoint.load_tensors(self.run / checkpoint.STATE)
        self.epoch = int(metadata["epoch"])
        self.net.load_state_dict(_under("net.", tensors))
        self.average.average.load_state_dict(_under("average.", tensors))
        restore_momentum(self.net, self.optimizers, _under("momentum.", tensors))

    def run_epoch(self, on_step: ProgressHook | None) -> dict[str, Any]:
        """Train one epoch, write its checkpoint and metrics line, and return that line."""
        recipe, steps = self.config.recipe, self.steps_per_epoch
        # Each epoch seeds its own draws, so a resumed run needs no random state to go on equal.
        seed = self.config.seed * 1_000_003 + self.epoch
        generator = torch.Generator().manual_seed(seed)
        # Workers shuffle alike and take their shares; the others' distortions are their own.
        rank = self.workers.rank
        draws = generator if not rank else torch.Generator().manual_seed(seed + rank * 10**12)
        torch.manual_seed(seed + rank * 10**12)
        self.net.train()
        loss_sum = torch.zeros((), device=self.device)
        started, shown = time.perf_counter(), 0.0
        order = batches(len(self.train_set), recipe.batch_size, generator)
        for index, rows in enumerate(order):
            step = self.epoch * steps + index
            rate = one_cycle(step, steps * recipe.epochs, 1.0, recipe.warmup)
            loss_sum += self._step(self.workers.share(rows), rate, step, draws)
            now = time.perf_counter()
            if on_step is not None and (now - shown > 0.2 or index + 1 == steps):
                shown = now
                loss = float(loss_sum) / (index + 1)
                speed = (index + 1) * recipe.batch_size / (now - started)
                lr = rate * recipe.peak_lr
                on_step(Progress(self.epoch + 1, step + 1, steps * recipe.epochs, loss, lr, speed))
                self._check_finite(loss, index)
        self._check_finite(float(loss_sum), steps - 1)
        self.epoch += 1
        seconds = time.perf_counter() - started
        record = {
            "epoch": self.epoch,
            "loss": float(loss_sum) / steps,
            "lr": rate * recipe.peak_lr,
            "seconds": round(seconds, 3),
            "images_per_second": round(steps * recipe.batch_size / seconds, 1),
        }
        if self.held_out is not None:
            score = evaluate(self.average.average, self.held_out, self.device)
            record |= {"hold_out_accuracy": score.accuracy, "hold_out_loss": score.loss}
        if self.workers.first:
            self._save_state(record)
        return record

    def _step(self, rows: Tensor, rate: float, step: int, draws: torch.Generator) -> Tensor:
        recipe = self.config.recipe
        rows = rows.repeat(recipe.copies)
        images = self.augment(self.train_set.images[rows], draws)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = self.train_set.labels[rows].to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.mixed_precision):
            logits = self.parallel(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        if self.teacher is not None:
            # Softening divides the gradient by the temperature's square.
            taught = recipe.temperature**2 * self.teacher.loss(logits, images)
            loss = torch.lerp(loss, taught, recipe.distill)
        self.net.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["peak_lr"]
            optimizer.step()
        self.average.update(step)
        return loss.detach()

    def _check_finite(self, loss: float, index: int) -> None:
        if not torch.isfinite(torch.tensor(loss)):
            kept = (
                f"epoch {self.epoch}'s checkpoint is kept" if self.epoch else "none was saved yet"
            )
            raise CheckError(
                f"the loss became {loss} in epoch {self.epoch + 1}, step {index + 1}; {kept} in "
                f"{self.run}. Lower --lr (it peaks at {self.config.recipe.peak_lr})"
            )

    def save_weights(self) -> None:
        """Write the averaged weights, what is evaluated and exported."""
        metadata = {"format": "mnistkit", "net": self.config.spec.name, "epoch": str(self.epoch)}
        state = self.average.average.state_dict()
        checkpoint.save_tensors(self.run / checkpoint.WEIGHTS, state, metadata)

    def _save_state(self, record: dict[str, Any]) -> None:
        tensors: dict[str, Tensor] = {}
        for prefix, state in (
            ("net.", self.net.state_dict()),
            ("average.", self.average.average.state_dict()),
            ("momentum.", momentum_of(self.net, self.optimizers)),
        ):
            tensors |= {prefix + key: value for key, value in state.items()}
        # The metrics first: state.safetensors is what says that the epoch is done.
        lines = []
        if self.epoch > 1:
            lines = (self.run / checkpoint.METRICS).read_text().splitlines()[: self.epoch - 1]
        text = "\n".join([*lines, json.dumps(record)]) + "\n"
        write_text(self.run / checkpoint.METRICS, text)
        self.save_weights()
        checkpoint.save_tensors(
            self.run / checkpoint.STATE,
            tensors,
            {"epoch": str(self.epoch), "net": self.config.spec.name},
        )


def _teacher(config: RunConfig, device: torch.device) -> Teacher | None:
    if config.teacher is None:
        return None
    source = resolve(config.teacher)
    seen = checkpoint.read_config(source.path)
    if seen.dataset == config.dataset and seen.hold_out < config.hold_out:
        raise UsageError(
            f"the teacher {source.name} has seen the images that --hold-out {config.hold_out} "
            f"keeps back; train a teacher with the same --hold-out first"
        )
    mixed = seen.recipe.mixed_precision
    temperature = config.recipe.temperature
    return Teacher(source.graph(), temperature, device, mixed_precision=mixed)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
