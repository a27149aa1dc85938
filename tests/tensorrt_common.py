"""What the tests of TensorRT share: which of them can run here."""

from __future__ import annotations

import pytest
from mnistkit.tensorrt import flavor

NO_RTX = flavor.get("tensorrt_rtx").missing()
real = pytest.mark.skipif(NO_RTX is not None, reason=str(NO_RTX))
