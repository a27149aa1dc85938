"""What the backends that run inside PyTorch share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from mnistkit.backends import process
from mnistkit.backends.base import Predictor
from mnistkit.common.devices import torch_device
from mnistkit.common.images import Images, Logits


def set_threads(threads: int) -> None:
    """Set the threads of PyTorch, which has one number for the whole process; 0 leaves them.

    Before a module is loaded: optimizing it runs some of it.
    """
    wanted = process.torch_threads(threads)
    if wanted and wanted != torch.get_num_threads():
        torch.set_num_threads(wanted)


class TorchPredictor(Predictor):
    """Runs a module that takes uint8 ``(N, 1, 28, 28)`` and gives float32 ``(N, 10)``."""

    def __init__(self, module: Callable[[torch.Tensor], Any], device: str, threads: int) -> None:
        self._module: Callable[[torch.Tensor], Any] | None = module
        self._device = torch_device(device)
        set_threads(threads)

    def _run(self, images: Images) -> Logits:
        if (module := self._module) is None:
            self._refuse()
        with torch.inference_mode():
            logits: Logits = module(_tensor(images).to(self._device)).cpu().numpy()
        return logits

    def _bind(self, images: Images) -> Callable[[], Any]:
        """Run the module on a tensor that is on the device already; waits for a GPU."""
        if (module := self._module) is None:
            self._refuse()
        tensor = _tensor(images).to(self._device)
        cuda = self._device.type == "cuda"

        def run() -> torch.Tensor:
            with torch.inference_mode():
                logits: torch.Tensor = module(tensor)
            if cuda:
                torch.cuda.synchronize(self._device)
            return logits

        return run

    def _release(self) -> None:
        self._module = None

    def bound_logits(self, result: Any) -> Logits:
        """Copy the tensor from the device."""
        logits: Logits = result.cpu().numpy().copy()
        return logits


def _tensor(images: Images) -> torch.Tensor:
    # torch warns of read-only arrays, such as a memory map, though nothing here writes to them.
    return torch.from_numpy(images if images.flags.writeable else images.copy())
