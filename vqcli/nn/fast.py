"""Whether compiled kernels are used: those of numba, the extra ``fast``, on a CPU;
those of Triton, which comes with torch for CUDA, on a GPU.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Literal

Compiler = Literal["numba", "triton"]
ENVIRONMENT = "VQCLI_COMPILED"
"""``never`` keeps both out; ``always`` takes them also for work that they may slow down, on a GPU for any."""


def compiles(worth: bool = True, by: Compiler = "numba") -> bool:
    """Whether what is ``worth`` it goes through compiled code here."""
    wanted = os.environ.get(ENVIRONMENT)
    return (worth or wanted == "always") and wanted != "never" and _has(by)


@cache
def _has(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
