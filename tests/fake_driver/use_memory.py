"""Run a memory implementation, the real library of its name, on the fake driver beside this file.

``python use_memory.py pycuda|cuda_bindings``, with the fake ``libcuda.so.1`` on the library path.
Exits with 0 where everything is as it should be.
"""

from __future__ import annotations

import ctypes
import os
import sys

import numpy as np
from mnistkit.backends.trt import memory
from mnistkit.common.errors import CheckError
from mnistkit.tensorrt import probe

name = sys.argv[1]
sys.setdlopenflags(os.RTLD_LAZY)  # pycuda names more driver functions than the fake one has
driver = ctypes.CDLL("libcuda.so.1", mode=ctypes.RTLD_GLOBAL)

gpu = probe.gpu()
assert (gpu.name, gpu.arch, gpu.multiprocessors) == ("Fake GPU", "8.9", 42), gpu
assert probe.driver().version == "13.0"

opened = memory.open_memory(0, name)
assert driver.fake_retained() == 1
assert driver.fake_depth() == 0, "retaining must not make the context current"
said = ""
try:
    opened.buffer(16)
except CheckError as error:
    said = str(error)
assert "invalid device context" in said, "memory without a current context"

with opened.current():
    assert driver.fake_depth() == 1
    stream = opened.stream()
    assert stream.handle != 0
    device = opened.buffer(784)
    assert device.address != 0
    sent, received = opened.pinned(784), opened.pinned(784)
    sent.array[:] = np.arange(784) % 251
    received.array[:] = 7
    opened.upload(device, sent, 784, stream)
    opened.download(received, device, 700, stream)
    assert (received.array == 7).all(), "the copies wait for the stream"
    stream.synchronize()
    assert (received.array[:700] == sent.array[:700]).all()
    assert (received.array[700:] == 7).all()
    graph = None
    if opened.graphs:
        opened.begin_capture(stream)
        opened.upload(device, sent, 784, stream)
        opened.download(received, device, 784, stream)
        graph = opened.end_capture(stream)
        for value in (1, 2):
            sent.array[:] = value
            graph.launch(stream)
            stream.synchronize()
            assert (received.array == value).all()
assert driver.fake_depth() == 0

with opened.current():
    for each in (graph, sent, received, device, stream):
        if each is not None:
            each.close()
assert driver.fake_live() == 0, f"{driver.fake_live()} things are left"
opened.close()
opened.close()
assert driver.fake_retained() == 0
print("ok", name, "graphs" if opened.graphs else "no graphs")
