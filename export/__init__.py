"""Export: one file per format, and the writing of the artifact folder that holds them.

Imported as ``mnistkit.export``; called, as ``mnistkit.export(net, "out")``, it is
:func:`mnistkit.export.writer.export_source`. A format is a module with ``FORMAT``, ``SUFFIX``,
``PRECISIONS`` and ``render(net, precision) -> bytes``, where ``net`` is the deploy graph, or the
int8 graph for int8; ``COMPANIONS`` names files that go with it (a C header). It knows nothing of
the runtimes that will load it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This folder and the verb have one name, so the folder can be called."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        from mnistkit.export.writer import export_source

        return export_source(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
