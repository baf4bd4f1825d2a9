"""Files as somebody leaves them who knows nothing of seals and manifests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def put(path: Path, value: Any) -> None:
    """Write a JSON file of vqcli's anew, from a text or a value; nothing tells of its hash any more."""
    if isinstance(value, dict):
        value = {name: each for name, each in value.items() if name != "seal"}
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    (path.parent / "manifest.json").unlink(missing_ok=True)
