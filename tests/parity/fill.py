"""Rebuild a parity checkpoint from its manifest.

A parity case stores no weights. ``manifest.json`` lists every tensor of a reference
checkpoint (name, shape, dtype, scale, shift) exactly as the reference implementation
names and shapes it; the values are drawn here, the same on every machine, from the
tensor's name. ``golden.npz`` beside it holds inputs, and the outputs that the reference
implementation computed from these very weights.

    python fill.py CASE_DIR OUT.pt      # writes the checkpoint in its original container
    from fill import load_case          # or use it from a test
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch


def draw(name: str, shape: list[int], scale: float, shift: float, seed: int) -> torch.Tensor:
    """Uniform values with mean ``shift`` and standard deviation ``scale``, keyed by ``name``."""
    key = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16], "little")
    bits = np.random.Philox(key=key)
    values = np.random.Generator(bits).random(int(np.prod(shape, dtype=np.int64)), dtype=np.float32)
    return torch.from_numpy((values * 2 - 1) * np.float32(scale * 3**0.5) + np.float32(shift)).reshape(shape)


def state_dict(manifest: dict) -> dict[str, torch.Tensor]:
    """Every tensor of the reference checkpoint, in its original order."""
    out = {}
    for name, t in manifest["tensors"].items():
        if "values" in t:
            tensor = torch.tensor(t["values"]).reshape(t["shape"])
        else:
            tensor = draw(t.get("draw_as", name), t["shape"], t["scale"], t["shift"], manifest["seed"])
            if t.get("unit_rows"):
                tensor = torch.nn.functional.normalize(tensor, dim=-1)
        out[name] = tensor.to(getattr(torch, t["dtype"]))
    return out


def load_case(case_dir: str | Path) -> tuple[dict, dict[str, torch.Tensor], dict[str, np.ndarray]]:
    """(manifest, state dict, golden arrays) of one case."""
    case_dir = Path(case_dir)
    manifest = json.loads((case_dir / "manifest.json").read_text())
    with np.load(case_dir / "golden.npz") as z:
        golden = {k: z[k] for k in z.files}
    return manifest, state_dict(manifest), golden


def write_checkpoint(case_dir: str | Path, out: str | Path) -> None:
    """Save the checkpoint as its authors do: the state dict under ``container`` keys, if any."""
    manifest, sd, _ = load_case(case_dir)
    obj: dict = sd
    for key in reversed(manifest["container"]):
        obj = {key: obj, **manifest.get("extras", {})}
    torch.save(obj, out)


if __name__ == "__main__":
    write_checkpoint(sys.argv[1], sys.argv[2])
