"""What a user may write to name images, told by the sources themselves; none of them is imported for it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from vqcli.parts import PARTS


def forms() -> str:
    """``a folder, a quoted glob ... or demo[:N]``: the ``FORM`` of every source."""
    known = [form for target in PARTS["sources"].values() if (form := _form(*target.split(":")))]
    return f"{', '.join(known[:-1])}, or {known[-1]}"


def instead(text: str) -> str:
    """What to give in place of a text that names no images."""
    if "{" in text:
        return "braces are no wildcards here: give a folder, or a glob with * alone"
    return f"give {forms()}"


def _form(module: str, attribute: str) -> str:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return ""
    text = Path(found.origin).read_text(encoding="utf-8")
    line = r'^    FORM\b[^=\n]*= "(.*)"'
    told = re.search(rf"^class {attribute}\b(?:(?!^class )(?s:.))*?{line}", text, re.MULTILINE)
    return told[1] if told else ""
