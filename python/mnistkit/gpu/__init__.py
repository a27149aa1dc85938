"""What the TensorRT builder and the TensorRT backends share, and the GPU side of the latter.

``probe`` asks the driver, ``flavor`` names the two TensorRT libraries, ``plan`` reads and checks
the JSON beside a plan, ``memory`` is the interface to device memory with its two implementations,
``engine`` turns a plan into something that runs, ``predictor`` feeds it. Nothing here imports a
CUDA or TensorRT library before ``probe`` has seen a driver.
"""
