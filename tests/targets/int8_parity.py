"""Logits of int8 artifacts by several runtimes, for a process whose CPU is held down.

python int8_parity.py IMAGES.npy OUT.npz BACKEND[:QUANTIZED_ENGINE],... ARTIFACT...

Writes an array ``BACKEND[:ENGINE]/ARTIFACT`` each, or a text array of the error, and prints the
kernels that the engine takes.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
from mnistkit import backends
from mnistkit.artifact.folder import Artifact
from mnistkit.common.errors import MnistkitError

warnings.simplefilter("ignore")


def main(images_file: str, out: str, names: str, *folders: str) -> None:
    images = np.load(images_file)
    results = {}
    for name in names.split(","):
        backend, _, engine = name.partition(":")
        if engine:
            import torch

            torch.backends.quantized.engine = engine
        for folder in map(Path, folders):
            try:
                artifact = Artifact.open(folder)
                with backends.get(backend).load(
                    artifact, "int8", "cpu", 1, check=False
                ) as predictor:
                    results[f"{name}/{folder.name}"] = predictor.logits(images)
                    print(getattr(predictor, "kernels", ""), flush=True)
            except MnistkitError as error:
                results[f"{name}/{folder.name}"] = np.array(str(error))
    np.savez(out, **results)


main(*sys.argv[1:])
