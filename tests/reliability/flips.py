"""Flip one bit of a file that vqcli wrote, and use it: that is noticed, or nothing comes out otherwise."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.reliability import oracle, scene
from tests.reliability.scene import COMMIT, JOBS, ON_CPU, PROJECTED, READING
from tests.reliability.server import Ended, shared
from tests.reliability.trials import Part, Trial

BITS, CHUNK = 12, 3
"""Flipped in every file for every use, and in one trial."""
TEXTS = ("recipe.yaml", "README.md", "metrics.jsonl")
"""What people may edit, and a log, which a run goes on with when a line of it is damaged: both are told."""
TOLD = re.compile(r"edited|damaged|made again|measured again")
DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")


@dataclass(frozen=True)
class Use:
    """A command that reads what vqcli wrote."""

    name: str
    flipped: str
    """What of the scene is damaged, file by file: a folder or file."""
    words: tuple[str, ...]
    results: tuple[str, ...] = ("out",)
    """Files and folders that come out of it, and ``stdout``."""
    also: tuple[str, ...] = ()
    """What of the scene it writes into besides."""
    without: tuple[str, ...] = ()
    """What of the scene is taken away before."""
    of: str = "scene"
    """The scene, or the job that was interrupted."""
    code: int = 0
    """Exit code without damage; 3 where what is unfinished is verified."""


TRAIN = ("train", "gpt.yaml", "-o", "out/run", "--steps", "1", *ON_CPU)
TRAINED = ("out/run/model/model.safetensors", "out/run/model/classes.json", "out/run/model/config.json")
ENCODE = ("encode", "images", "-o", "out/tokens.npy", *READING)
DECODE = ("-o", "out", "-m", "model", *ON_CPU)
SAMPLE = ("--prompt-class", "0-1", "-n", "1", *ON_CPU)
RESUMED = ("model", "metrics.jsonl", "checkpoints/step-00000006")


def _said(name: str, flipped: str, *words: str, of: str = "scene", code: int = 0) -> Use:
    return Use(name, flipped, words, results=("stdout",), of=of, code=code)


def _resume(name: str, run: str) -> Use:
    words = ("train", "--resume", run, *ON_CPU)
    return Use(name, run, words, results=tuple(f"{run}/{part}" for part in RESUMED))


def _prune(name: str, flipped: str, tokens: str, *written: str) -> Use:
    words = ("prune", "model", "-o", "out/pruned", "--tokens", tokens, "--device", "cpu")
    return Use(name, flipped, words, results=("out", *written), also=("tokens", "shards"))


def _uses() -> Iterator[Use]:
    for name, model in (("model", "model"), ("gen-model", "gen/tokenizer")):
        yield Use(f"{name}-encode", model, (*ENCODE, "-m", model))
        yield _said(f"{name}-info", model, "info", model)
        yield _said(f"{name}-usage", model, "usage-report", model)
    yield Use("model-reconstruct", "model", ("reconstruct", "images", "-o", "out", "-m", "model", *READING))
    yield Use("model-decode", "model", ("decode", "tokens/tokens.npy", *DECODE))
    yield _said("model-evaluate", "model", *JOBS["evaluate"])
    yield _prune("model-prune", "model", "tokens/tokens.npy", "tokens/tokens-pruned.npy")
    for name in ("model", "run"):
        words = ("train", "tiny.yaml", "--init", name, "-o", "out/run", "--steps", "1", *ON_CPU)
        yield Use(f"{name}-init", name, words, TRAINED[:1])
    yield Use("model-of-generator", "model", TRAIN, TRAINED)
    yield Use("run-encode", "run", (*ENCODE, "-m", "run"), without=("run/model",))
    yield _said("run-runs", "run", "runs", "run")
    yield _said("run-usage", "run", "usage-report", "run")
    yield _resume("run-resume", "half")
    yield _resume("gptrun-resume", "gpthalf")
    yield Use("gen-generate", "gen", ("generate", "-o", "out", "-m", "gen", *SAMPLE))
    yield Use("gen-tokens", "gen", ("generate", "--tokens-only", "-o", "out/t.npy", "-m", "gen", *SAMPLE))
    yield _said("gen-info", "gen", "info", "gen", "-v")
    for name, tokens in (("tokens", "tokens/tokens.npy"), ("shards", "shards")):
        flipped = tokens.partition("/")[0]
        yield Use(f"{name}-decode", flipped, ("decode", tokens, *DECODE))
        yield Use(f"{name}-train", flipped, (*TRAIN, "--data", tokens), TRAINED)
        yield _said(f"{name}-usage", flipped, "usage-report", tokens)
        yield _said(f"{name}-info", flipped, "info", tokens, "-v")
        yield _prune(f"{name}-prune", flipped, tokens, f"{flipped}-pruned", f"{flipped}/tokens-pruned.json")
    yield _said("latents-info", "latents", "info", "latents", "-v")
    codes = ("train", "tiny.yaml", "--set", PROJECTED, "-o", "out/run", "--steps", "1", *ON_CPU)
    yield Use("codebook-train", "codes.safetensors", codes, TRAINED[:1])
    yield _said("hub-info", "hub", "info", f"owner/name@{COMMIT}")
    yield Use("hub-encode", "hub", (*ENCODE, "-m", f"owner/name@{COMMIT}"))
    for name, words in JOBS.items():
        place, results = ("cache", ("stdout",)) if name == "evaluate" else ("out", ("out",))
        yield Use(f"continue-{name}", place, words, results, of=name)
    for artefact in ("model", "gen", "run", "gptrun", "tokens", "shards", "latents", "codes.safetensors",
                     "results", "decoded", "generated"):  # fmt: skip
        yield _said(f"verify-{artefact}", artefact, "verify", artefact)
    for name in JOBS:
        place = "cache" if name == "evaluate" else "out"
        yield _said(f"verify-job-{name}", place, "verify", place, of=name, code=3)


USES = {use.name: use for use in _uses()}


class Flips(Part):
    """Bits, one at a time."""

    name, figure, goal, share = "flips", "flipped bits, every artefact and use", 5000, 6

    def __init__(self) -> None:
        self.server = shared()
        self.place = Path()
        self.expected: dict[str, tuple[str, ...]] = {}

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        self.place = base / "flips"
        scene.make(self.place, self.server)
        for use in USES.values():
            for path in files_of(self.place / use.of, use):
                chance = random.Random(f"{seed} {use.name} {path}")
                size = (self.place / use.of / path).stat().st_size * 8
                every = range(size) if size <= BITS else sorted(chance.sample(range(size), BITS))
                for at in range(0, len(every), CHUNK):
                    bits = every[at : at + CHUNK]
                    name = f"{use.name}/{path}/{'+'.join(map(str, bits))}"
                    yield Trial(name, partial(self.flip, use, path, bits), len(bits))

    def flip(self, use: Use, path: str, bits: list[int], _: Path) -> str:
        """Flip each bit alone; what is wrong, for the first that is neither noticed nor without effect."""
        if use.name not in self.expected:
            ended = self.used(use)
            if ended.code != use.code:
                return f"without a flip it ends with {ended.code}: {ended.err[-300:]}"
            self.expected[use.name] = told(use, self.server.place, ended)
        for bit in bits:
            ended = self.used(use, path, bit)
            end = self.judged(use, path, ended, told(use, self.server.place, ended))
            self.note(use, path, bit, end)
            if end not in ("noticed", "told", "same"):
                return f"bit {bit} of {path}: {end}"
        return ""

    def used(self, use: Use, path: str = "", bit: int = 0) -> Ended:
        place = self.server.fresh()
        lay(self.place, use, place)
        if path:
            damage(place / path, bit)
        return self.server.run(use.words)

    def judged(self, use: Use, path: str, ended: Ended, results: tuple[str, ...]) -> str:
        errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
        if "internal error" in ended.err or "Traceback" in ended.err:
            return f"internal error: {ended.err[-400:]}"
        if ended.code == 1:
            named = [name for name in names_of(self.place / use.of, path) if name in ended.err + ended.out]
            if use.words[0] == "verify":
                return "noticed" if named else f"nobody is named: {ended.out[-400:]}"
            if len(errors) != 1 or not named:
                return f"no sentence that names the file: {ended.err[-400:]}"
            return "noticed"
        if ended.code != use.code:
            return f"exit {ended.code}: {ended.err[-400:]}"
        said = TOLD.search(ended.err + (ended.out if use.words[0] == "verify" else ""))
        if results == self.expected[use.name]:
            return "told" if said else "same"
        if said and Path(path).name in TEXTS:
            return "told"
        return f"exit 0, and other results: {differences(self.expected[use.name], results)}"

    def note(self, use: Use, path: str, bit: int, end: str) -> None:
        """How each bit ended, for the table of those that were noticed and those that change nothing."""
        line = {"use": use.name, "file": path, "bit": bit, "end": end}
        with (self.place / "ends.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def files_of(place: Path, use: Use) -> list[str]:
    """Names of the files that a use may find damaged."""
    top = place / use.flipped
    found = (
        [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file() and not p.is_symlink())
    )
    names = [p.relative_to(place).as_posix() for p in found if p.stat().st_size]
    kept = [n for n in names if not any(n.startswith(f"{gone}/") for gone in use.without)]
    return [
        n for n in kept if not n.endswith((".html", ".svg", ".lock", "refs/main")) and "/samples/" not in n
    ]


def names_of(place: Path, path: str) -> Iterator[str]:
    """By which a file may be called: its own, those of its folders, and of links to it."""
    yield from Path(path).parts
    top = place / Path(path).parts[0]
    yield from (each.name for each in top.rglob("*") if each.is_symlink() and each.samefile(place / path))


def lay(place: Path, use: Use, folder: Path) -> None:
    """Put together what a use needs: copies of what is damaged or written into, links to all else."""
    own = {use.flipped.partition("/")[0], *use.also}
    for source in [*(place / "scene").iterdir(), *((place / use.of).iterdir() if use.of != "scene" else ())]:
        target = folder / source.name
        if source.name in own or source.parent.name != "scene":
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copy(source, target)
        else:
            target.symlink_to(source)
    for gone in use.without:
        shutil.rmtree(folder / gone)


def damage(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def told(use: Use, place: Path, ended: Ended) -> tuple[str, ...]:
    """All that came out, a line a file."""
    lines = []
    for name in use.results:
        if name == "stdout":
            lines += ["stdout", *(DATE.sub("", line) for line in oracle.answer(ended.out))]
            continue
        top = place / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and path.name not in (".lock", "README.md"):
                data = oracle.untimed(path.name, path.read_bytes())
                lines.append(f"{path.relative_to(place)} {hashlib.sha256(data).hexdigest()[:16]}")
    return tuple(lines)


def differences(one: tuple[str, ...], other: tuple[str, ...]) -> str:
    changed = [line for line in other if line not in one] or [line for line in one if line not in other]
    return "; ".join(changed)[:300] + f" ({zlib.crc32(repr(other).encode()):08x})"
