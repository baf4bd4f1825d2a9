"""Which of the files in a folder or repository are a model's weights. No torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from vqcli import files
from vqcli.errors import VqcliError
from vqcli.importers.shards import INDEX

HEAVY = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
"""How names of files of weights end."""
HALVES = re.compile(r"\.(?:fp16|bf16|non_ema)\.")
"""Further forms of weights that lie beside."""
SHARD = re.compile(r"-\d+-of-\d+\.\w+$")
"""How names of files end of which an index tells."""
STATES = re.compile(r"(?:optimizer|(?:lr_)?scheduler|scaler|rng_state|training_args|random_states)[\w.]*")
"""What training leaves beside weights, under the same endings."""


def usable(names: Iterable[str]) -> list[str]:
    """Names of files that a model can be read from, one for each model that may be meant.

    An index stands for the files that it names; of one model in safetensors and in pickles, the first.
    """
    heavy = [
        name
        for name in names
        if name.endswith((*HEAVY, *(ending + INDEX for ending in HEAVY)))
        and not HALVES.search(name)
        and not STATES.fullmatch(PurePosixPath(name).name)
    ]
    indices = [name for name in heavy if name.endswith(INDEX)]
    stems = {name.removesuffix(INDEX).rpartition(".")[0] for name in indices}
    whole = [name for name in heavy if not (SHARD.search(name) and SHARD.sub("", name) in stems)]
    whole = [name for name in whole if not (name.endswith(INDEX) and name.removesuffix(INDEX) in whole)]
    safe = {_model(name) for name in whole if ".safetensors" in name}
    return [name for name in whole if ".safetensors" in name or _model(name) not in safe]


def _model(name: str) -> str:
    """What a file's model is called: ``pytorch_model.bin`` is that of ``model.safetensors``."""
    place = PurePosixPath(name.removesuffix(INDEX)).with_suffix("")
    return str(place.with_name(place.name.removeprefix("pytorch_")))


def weights_file(path: Path) -> Path:
    """The file or index of weights that a path names: itself, or the one in a folder.

    Raises VqcliError where a folder holds none or several, or cannot be listed.
    """
    if not files.is_folder(path):
        return path
    found = usable(_files(path))
    return path / only(found, str(path), f"{path}/")


def holds_weights(folder: Path) -> bool:
    """Whether there are weights of others right in a folder."""
    return files.is_folder(folder) and bool(usable(_files(folder)))


def _files(folder: Path) -> list[str]:
    return [path.name for path in files.children(folder) if files.is_file(path)]


def only(found: Sequence[str], holder: str, before: str) -> str:
    """The one of ``found``. Raises VqcliError if there are none in ``holder``, or several.

    ``before`` is what a user writes before a name.
    """
    if len(found) == 1:
        return found[0]
    what = ", ".join(found[:8]) + (f" and {len(found) - 8:,} more" if len(found) > 8 else "")
    first = f"{before}{found[0] if found else 'FILE'}"
    raise VqcliError(
        f"{holder} holds several models: {what}" if found else f"{holder} holds no weights",
        hint=f"name one: {first}" if found else "is it a model? name its file: " + first,
        reason="ambiguous" if found else "layout",
    )
