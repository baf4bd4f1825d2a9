"""What vqcli wrote, wherever it lies: each file of it, how it is checked, and how it can be made again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from vqcli import files
from vqcli.checkpoint.contents import CARD, MANIFEST
from vqcli.data.tokens import store
from vqcli.data.tokens.files import LISTS, TokensFile
from vqcli.errors import VqcliError
from vqcli.jobs import decode, generate, reconstruct
from vqcli.jobs.evaluation.outputs import RESULTS
from vqcli.jobs.feature_shards import check_vectors
from vqcli.training.run import Run

COPY = "copy it again"
SAME = "give the same command again: it makes what is damaged or missing anew"
DEPTH = 4
"""Folders below the one that was named in which things are looked for."""
SHARDS: tuple[store.Of, ...] = ("tokens", "latents")
EDITED = "changed"
"""Reason of what people may edit, which is told and is no damage."""


@dataclass(frozen=True)
class Check:
    """A file, or a count over several."""

    path: Path
    call: Callable[[], object]
    """Raises VqcliError where something is wrong: ``reason`` says what."""
    again: str = COPY
    """How it can be made again."""


def checks_of(path: Path, depth: int = DEPTH) -> Iterator[tuple[str, Check]]:
    """Every check of what lies at a path, with the kind of thing that it is part of."""
    if files.is_file(path):
        yield from _file(path)
        return
    for what, holds, checks in KINDS:
        if holds(path):
            yield from ((what, check) for check in checks(path))
            return
    if depth:
        for below in files.children(path):
            if below.is_symlink() or below.name.startswith("."):
                continue
            if files.is_folder(below) or below.suffix in (".npy", ".safetensors"):
                yield from checks_of(below, depth - 1)


def _file(path: Path) -> Iterator[tuple[str, Check]]:
    if path.suffix == ".npy":
        yield "tokens", Check(path, partial(_array, path), "encode the images again")
    elif path.suffix == ".safetensors":
        again = "vqcli build-codebook makes it again, or copy it"
        yield "codebook", Check(path, partial(_tensors, path), again)
    elif path.suffix in (".yaml", ".yml"):
        yield "recipe", Check(path, partial(_recipe, path))
    else:
        yield "file", Check(path, partial(_json, path))


def _array(path: Path) -> None:
    found = TokensFile(path)
    for each in (found.blocks(), *map(found.column, LISTS)):
        deque(each, 0)


def _tensors(path: Path) -> None:
    if not files.check_seal(path):
        files.verify_listed(path)
        files.load_tensors(path, "numpy")


def _json(path: Path) -> None:
    files.verify_listed(path)
    if files.read_sealed_lists(path, LISTS) is None:
        files.read_sealed(path, files.LISTS)


def _recipe(path: Path) -> None:
    if files.text_edited(path):
        message = f"{path} was edited since vqcli wrote it"
        raise VqcliError(message, hint=f"vqcli verify --seal {path}", reason=EDITED)


def _log(path: Path) -> None:
    for _ in files.read_lines(path):
        pass


def _listed(folder: Path, again: str = "", *, alone: bool = False) -> Iterator[Check]:
    """A folder with a manifest, or one that should have one; ``alone``: nothing else may lie there."""
    again = again or _model_again(folder)
    manifest = folder / MANIFEST
    yield Check(manifest, partial(_names, manifest), again)
    try:
        listed = _names(manifest)
    except VqcliError as e:
        if e.reason == "os":
            raise
        return
    for name in listed:
        path = folder / name
        yield Check(path, partial(_card if path.name == CARD else _entry, path), again)
    for path in files.below(folder) if alone else ():
        if path.relative_to(folder).as_posix() not in (*listed, MANIFEST):
            yield Check(path, partial(_stray, path), f"take it away; or {again}")


def _stray(path: Path) -> None:
    raise VqcliError(f"{path} is no file of its checkpoint", hint="take it away", reason="damaged")


def _names(manifest: Path) -> list[str]:
    """Names of the files that a manifest lists. Raises VqcliError where it is none, or leads elsewhere."""
    listed = files.read_sealed(manifest).get("files")
    if not isinstance(listed, dict) or not all(isinstance(facts, dict) for facts in listed.values()):
        raise VqcliError(f"{manifest} is no list of files", hint="make the folder again", reason="damaged")
    for name in listed:
        if not name or "\0" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            message = f"{manifest} lists what is not in its folder: {name[:80]!r}"
            raise VqcliError(message, hint="make the folder again", reason="damaged")
    return list(listed)


def _entry(path: Path) -> None:
    files.verify_listed(path)


def _card(path: Path) -> None:
    try:
        _entry(path)
    except VqcliError as e:
        if e.reason != "damaged":
            raise
        raise VqcliError(f"{path} was edited since vqcli wrote it", hint=e.hint, reason=EDITED) from e


def _model_again(folder: Path) -> str:
    """How a model folder is made again: as it was made."""
    if files.is_file(folder.parent / "recipe.yaml"):
        return f"move {folder} away, and export it again: vqcli train --resume {folder.parent}"
    record: Any = {}
    if files.is_file(folder / "import.json"):
        try:
            record = files.read_json(folder / "import.json")
        except VqcliError:
            record = {}
    if isinstance(record, dict) and record.get("file"):
        return f"vqcli import {record['file']} -o {folder} --force"
    return f"copy {folder} again, or vqcli pull MODEL -o {folder} --force"


def _run(folder: Path) -> Iterator[Check]:
    run, resume = Run(folder), f"vqcli train --resume {folder}"
    yield Check(run.recipe_file, partial(_recipe, run.recipe_file))
    if files.exists(run.metrics_file):
        yield Check(run.metrics_file, partial(_log, run.metrics_file), "nothing makes it again")
    for checkpoint in files.children(folder / "checkpoints", "step-*"):
        goes_on = f"{resume} goes on from the newest whole one; once it has, delete {checkpoint}"
        yield from _listed(checkpoint, goes_on, alone=True)
    for picture in files.children(folder / "samples", "*.png"):
        yield Check(picture, partial(_picture, picture), "nothing makes it again")
    if run.finished():
        yield from _listed(run.model)
    else:
        yield Check(run.model, partial(_unfinished, f"{folder} has not finished", resume), resume)


def _unfinished(message: str, hint: str) -> None:
    raise VqcliError(message, hint=hint, reason="unfinished")


def _picture(path: Path) -> None:
    if not files.whole_image(path):
        raise VqcliError(f"{path} is damaged", hint=SAME, reason="damaged")


def _job(folder: Path) -> Iterator[Check]:
    """Shards of any job, finished or not."""
    plan = folder / store.PLAN
    yield Check(plan, partial(files.read_sealed, plan, files.LISTS), "give the same command with --force")
    for k, array in _numbered(folder, "vectors-*.npy"):
        yield Check(array, partial(check_vectors, folder, k), SAME)
    for of in ("kmeans", "part"):
        for part in files.children(folder, f"{of}-*.safetensors"):
            yield Check(part, partial(files.load_sealed, part), SAME)
    if not files.is_file(folder / store.INDEX):
        for made in SHARDS:
            for k, path in _numbered(folder, f"{made}-*.safetensors"):
                yield Check(path, partial(store.read_shard, folder, k, made), SAME)
        yield Check(folder, partial(_unfinished, f"{folder} is of a job that has not finished", SAME), SAME)
        return
    try:
        made = "latents" if "latents" in files.read_sealed(plan, files.LISTS) else "tokens"
        index = store.read_index(folder)
    except VqcliError as e:
        if e.reason == "os":
            raise
        yield Check(folder / store.INDEX, partial(store.read_index, folder), SAME)
        return
    for k in range(index["shards"]):
        for path in store.shard_files(folder, k, made):
            yield Check(path, partial(_hashed, path, index.get("sha256", {}).get(path.name)), SAME)
        yield Check(store.shard_files(folder, k, made)[1], partial(store.read_shard, folder, k, made), SAME)
    yield Check(folder / store.INDEX, partial(_counted, folder, index, made), SAME)


def _numbered(folder: Path, pattern: str) -> Iterator[tuple[int, Path]]:
    """Shards in a folder, each with its number: of a job that several processes do, any may be missing."""
    for path in files.children(folder, pattern):
        number = path.stem.rpartition("-")[2]
        if number.isdecimal():
            yield int(number), path


def _hashed(path: Path, digest: str | None) -> None:
    if files.hash_of(path) != digest:
        raise VqcliError(f"{path} is not what {store.INDEX} says", hint=SAME, reason="damaged")


def _counted(folder: Path, index: dict[str, Any], of: store.Of) -> None:
    found = 0
    for k in range(index["shards"]):
        found += sum(line["status"] == "ok" for line in store.read_shard(folder, k, of)[0])
    if found != index["encoded"]:
        message = f"{folder / store.INDEX} tells of {index['encoded']:,} rows, the shards of {found:,}"
        raise VqcliError(message, hint=SAME, reason="damaged")


def _images(folder: Path) -> Iterator[Check]:
    """What decode, generate or reconstruct wrote."""
    mark = next(folder / name for name in MARKS if files.is_file(folder / name))
    yield Check(mark, partial(files.read_sealed, mark, files.LISTS), "give the same command with --force")
    for picture in files.below(folder, "*.png"):
        if not picture.name.startswith("."):
            yield Check(picture, partial(_picture, picture), SAME)
    if mark.name == decode.MARK:
        yield Check(mark, partial(_all_there, folder, decode.pictures), SAME)
    else:
        last = folder / (generate.SAMPLES if mark.name == generate.MARK else reconstruct.SHEET)
        if not files.is_file(last):
            yield Check(last, partial(_unfinished, f"{folder} is of a job that has not finished", SAME), SAME)
        elif last.name == generate.SAMPLES:
            yield Check(last, partial(files.read_sealed, last, files.LISTS), f"delete it, and {SAME}")
            yield Check(last, partial(_all_listed, last), SAME)
        else:
            yield Check(mark, partial(_all_there, folder, reconstruct.pictures), SAME)


def _all_there(folder: Path, pictures: Callable[[Path], int | None]) -> None:
    wanted = pictures(folder)
    found = sum(1 for path in files.below(folder, "*.png") if not path.name.startswith("."))
    if wanted is None:
        _unfinished(f"{folder} is of a job that has not finished", SAME)
    elif found < wanted:
        message = f"{folder} has {found:,} of {wanted:,} images"
        raise VqcliError(message, hint=SAME, reason="input-missing")


def _all_listed(path: Path) -> None:
    listed: list[dict[str, Any]] = []
    with files.passing_over():  # another check tells that it is damaged
        listed = files.read_sealed(path, files.LISTS)["images"]
    for image in listed:
        if not files.is_file(path.parent / image["file"]):
            message = f"{path.parent / image['file']} is missing"
            raise VqcliError(message, hint=SAME, reason="input-missing")


def _results(folder: Path) -> Iterator[Check]:
    path, again = folder / RESULTS, f"vqcli evaluate with -o {folder} --force"
    yield Check(path, partial(files.read_sealed, path, files.LISTS), again)
    if files.is_file(folder / MANIFEST):
        yield from _listed(folder, again)
    else:
        for picture in files.children(folder, "*.png"):
            yield Check(picture, partial(_picture, picture), again)


MARKS = (decode.MARK, generate.MARK, reconstruct.MARK)
KINDS: tuple[tuple[str, Callable[[Path], bool], Callable[[Path], Iterator[Check]]], ...] = (
    ("run", lambda p: files.is_file(p / "recipe.yaml"), _run),
    ("evaluation", lambda p: files.is_file(p / RESULTS), _results),
    ("model", lambda p: files.is_file(p / "config.json") or files.is_file(p / MANIFEST), _listed),
    ("job", lambda p: files.is_file(p / store.PLAN), _job),
    ("images", lambda p: any(files.is_file(p / name) for name in MARKS), _images),
)
"""What a folder may be, how that is seen, and its checks; the first that holds."""
