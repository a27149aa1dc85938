"""This machine as a lesser x86 CPU, by the runtimes' own switches.

    python tests/cpu_levels.py avx2 nano base      # mnistkit verify, int8, as an AVX2-only CPU

oneDNN (of PyTorch and of OpenVINO) takes its limit from ONEDNN_MAX_CPU_ISA, FBGEMM from
FBGEMM_ENABLE_INSTRUCTIONS, PyTorch's own kernels from ATEN_CPU_CAPABILITY, the engine from
MNISTKIT_KERNELS. ONNX Runtime has no such switch. PyTorch chooses between oneDNN and FBGEMM by
the true CPU: without a dot product it takes FBGEMM, and so does :func:`take_fbgemm`.
"""

from __future__ import annotations

import os
import subprocess
import sys

LEVELS = {
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "FBGEMM_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MNISTKIT_KERNELS": "avx2",
    },
    "sse4.1": {
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "ATEN_CPU_CAPABILITY": "default",
        "MNISTKIT_KERNELS": "sse4.1",
    },
}


def take_fbgemm() -> None:
    """Let PyTorch run int8 in FBGEMM, as it does on a CPU without a dot product."""
    import torch

    torch.backends.quantized.engine = "fbgemm"


def main(level: str, nets: list[str]) -> int:
    """Run ``mnistkit verify`` on the int8 nets of the package; return how many failed."""
    failed = 0
    for net in nets:
        print(f"== {net} as an {level}-only CPU", flush=True)
        command = [sys.executable, __file__, "--one", level, net]
        done = subprocess.run(command, env={**os.environ, **LEVELS[level]}, check=False)
        failed += done.returncode != 0
    return failed


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        from mnistkit.cli.app import app

        if sys.argv[2] == "avx2":
            take_fbgemm()
        app(["verify", "--pretrained", sys.argv[3], "--precision", "int8", "--threads", "1"])
    sys.exit(main(sys.argv[1], sys.argv[2:]))
