"""Whether compiled kernels are used: where numba, the extra ``fast``, is installed."""

from __future__ import annotations

import importlib.util
import os
from functools import cache

ENVIRONMENT = "VQCLI_COMPILED"
"""``never`` keeps numba out; ``always`` takes it for the smallest work too, which it would slow down."""


def compiles(worth: bool = True) -> bool:
    """Whether what is ``worth`` it goes through compiled code here."""
    wanted = os.environ.get(ENVIRONMENT)
    return (worth or wanted == "always") and wanted != "never" and _has_numba()


@cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None
