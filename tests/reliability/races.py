"""Two commands make the same thing at the same time: one of them does, or both end alike."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.reliability import oracle
from tests.reliability.faults import Faults, version
from tests.reliability.scenarios import CPU, EVALUATE, IMAGES, TRAIN, Scenario
from tests.reliability.trials import Trial

DELAYS = range(0, 400, 10)
"""Milliseconds by which the second command is later."""
PRUNE = "prune tok --tokens t.npy"
PAIRS = (
    ("train", f"train tiny.yaml {TRAIN}", f"train gan.yaml {TRAIN}"),
    ("encode", f"encode images -m tok -o out.npy {IMAGES}", f"encode images -m tok2 -o out.npy {IMAGES}"),
    ("encode-shards", f"encode images -m tok -o out {IMAGES}", f"encode images -m tok2 -o out {IMAGES}"),
    ("decode", f"decode t.npy -m tok -o out {CPU}", f"decode other.npy -m tok2 -o out {CPU}"),
    (
        "build-codebook",
        f"build-codebook images -k 4 --size 8 -o out.safetensors {IMAGES}",
        f"build-codebook images -k 3 --size 8 -o out.safetensors {IMAGES}",
    ),
    ("evaluate", f"{EVALUATE} -o out", f"{EVALUATE.replace('tok', 'tok2')} -o out"),
    ("evaluate-force", f"{EVALUATE} -o out --force", f"{EVALUATE.replace('tok', 'tok2')} -o out --force"),
    (
        "usage-report",
        f"usage-report tok --images images -o out.html {IMAGES}",
        "usage-report t.npy -o out.html",
    ),
    ("prune", f"{PRUNE} -o out", "prune tok2 --tokens other.npy -o out"),
    ("prune-same", f"{PRUNE} -o out", f"{PRUNE} -o out"),
    ("import", "import foreign.pt -o out", f"{PRUNE} -o out"),
    ("import-same", "import foreign.pt -o out", "import foreign.pt -o out"),
    ("import-force", "import foreign.pt -o out --force", f"{PRUNE} -o out --force"),
)
"""Two commands, with one output of both."""
NEEDS = "images tok tok2 t.npy t.json other.npy other.json foreign.pt tiny.yaml gan.yaml"
MAKES = "out out.npy out.json out.partial out.safetensors out.html run t-pruned.npy t-pruned.json"


class Races(Faults):
    """Collisions of two commands on one output; the machine is that of the faults."""

    name, figure, goal, share = "races", "collisions of two commands", 500, 5

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        self.stock = base / f"faults-{version()}"
        for name, *commands in PAIRS:
            for delay in DELAYS:
                yield Trial(f"{name}/{delay}", partial(self.collide, name, commands, delay / 1000))

    def collide(self, name: str, commands: list[str], delay: float, _: Path) -> str:
        """Run both; what each comes to alone is found out first, once."""
        server = self.serving()
        makes = MAKES + " other-pruned.npy other-pruned.json"
        scenarios = [Scenario(f"{name}-{n}", one, NEEDS, makes) for n, one in enumerate(commands)]
        ends = [self.undisturbed(one).end for one in scenarios]
        self.begin(scenarios[0])
        ended = server.run(commands[0].split(), other=commands[1].split(), delay=delay)
        now = oracle.tree(server.place)
        if all(ended.codes):
            return f"neither command ended well: {ended.said}"
        if wrong := oracle.answered(ended, [0]):
            return wrong
        for code, said in zip(ended.codes, ended.said):
            if code and not any(word in said for word in ("in use", "exist", "holds")):
                return f"refused for another reason: {said[-600:]!r}"
        done = [end for code, end in zip(ended.codes, ends) if not code]
        if now not in done:
            return f"exits {ended.codes}, and neither's results: {oracle.differs(now, done[0])}"
        both = commands[0] != commands[1] and not any(ended.codes)
        if both and not any(word in commands[0] for word in ("--force", "usage-report")):
            return "both say that they wrote it"
        return ""
