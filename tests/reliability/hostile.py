"""Artefacts of a stranger who wants his code to run, his names to be believed, or your files to be passed on.

Each carries a payload that would make a canary and goes to the commands that may receive such a file, in a
forked process with an audit hook (``canaries.py``). Trials named ``control`` load a payload unsafely and hold
if the canary is there: the others do not show that payloads are duds.
"""

import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.reliability.canaries import CANARY, SECRET, verdict, watched
from tests.reliability.gadgets import WRAPPERS, gadgets, npy, pickles
from tests.reliability.names import check_names
from tests.reliability.server import command
from tests.reliability.strangers import ARTEFACTS, PLANTED, plant
from tests.reliability.trials import Part, Trial

WEIGHTS = (
    ["import", "{file}", "-o", "{out}/model"],
    ["info", "{file}"],
    ["encode", "{base}/images", "-m", "{file}", "-o", "{out}/t.npy", "--num-workers", "0"],
    ["usage-report", "{file}"],
    ["evaluate", "{file}", "--images", "{base}/images", "--metrics", "psnr", "-o", "{out}/e"],
    ["prune", "{file}", "-o", "{out}/pruned"],
    ["pull", "{file}", "-o", "{out}/pulled"],
    ["decode", "{file}", "-o", "{out}/images", "-m", "{base}/model"],
    ["generate", "-m", "{file}", "-o", "{out}/images", "-n", "1"],
    ["train", "demo", "-o", "{out}/run", "--set", "init={file}", "--set", "training.steps=1"],
)
"""Commands that take weights; each artefact goes to the first, and to one of the others."""
ARRAYS = (
    ["usage-report", "{file}", "--codebook-size", "16"],
    ["decode", "{file}", "-o", "{out}/images", "-m", "{base}/model"],
    ["encode", "{file}", "-m", "{base}/model", "-o", "{out}/t.npy", "--num-workers", "0"],
    ["info", "{file}"],
    ["evaluate", "{file}", "--images", "{base}/images", "--metrics", "fid"],
)
DUDS = {
    "torch.load",
    "torch.hub",
    "numpy.load",
    "numpy.runstring",
    "numpy.run_command",
    "webbrowser",
    "socket",
    "python2.execfile",
    "ctypes.CDLL",
}
"""Payloads without a control: other versions of libraries have them, or what they do is no file."""


class Hostile(Part):
    """Artefact x command, none may fire."""

    name = "hostile"
    figure = "hostile artefacts with a canary, by command"
    goal = 80
    share = 24

    def trials(self, base: Path, seed: int) -> Iterator[Trial]:
        base = base / "hostile"
        made = itertools.chain(self._controls(), self._pickles(base), self._arrays(base), self._others(base))
        return itertools.chain(made, self._planted(base))

    def _controls(self) -> Iterator[Trial]:
        for key in gadgets(Path("/nowhere")):
            if key not in DUDS:
                yield Trial(f"control/{key}", lambda top, key=key: control(top, key))

    def _pickles(self, base: Path) -> Iterator[Trial]:
        for n, (wrapper, key) in enumerate(itertools.product(WRAPPERS, pickles(Path("/nowhere")))):
            for line in (WEIGHTS[0], WEIGHTS[1 + n % (len(WEIGHTS) - 1)]):

                def make(here: Path, wrapper: str = wrapper, key: str = key) -> str:
                    name, wrap = WRAPPERS[wrapper]
                    (here / name).write_bytes(wrap(pickles(here.parent)[key], here.parent))
                    return name

                yield _trial(f"pickle/{wrapper}/{key}", make, line, base)

    def _arrays(self, base: Path) -> Iterator[Trial]:
        for n, key in enumerate(pickles(Path("/nowhere"))):
            for ending, line in (("npy", ARRAYS[n % 5]), ("npz", ARRAYS[(n + 2) % 5])):

                def make(here: Path, key: str = key, ending: str = ending) -> str:
                    data = npy("'|O'", pickles(here.parent)[key])
                    if ending == "npz":
                        import io
                        import zipfile

                        packed = io.BytesIO()
                        with zipfile.ZipFile(packed, "w") as archive:
                            for name in ("arr_0", "tokens", "labels"):
                                archive.writestr(f"{name}.npy", data)
                        data = packed.getvalue()
                    (here / f"x.{ending}").write_bytes(data)
                    return f"x.{ending}"

                yield _trial(f"array/{ending}/{key}", make, line, base)

    def _others(self, base: Path) -> Iterator[Trial]:
        for key, (make, lines) in ARTEFACTS.items():
            for line in lines:
                yield _trial(key, make, line, base)

    def _planted(self, base: Path) -> Iterator[Trial]:
        for n, line in enumerate(PLANTED):
            yield Trial(f"planted/{n}-{line[0]}", lambda top, line=line: planted(top, prepared(base), line))


def prepared(base: Path) -> Path:
    """Good models and images, made once."""
    if not (base / "ready").exists():
        from PIL import Image

        from tests.images import picture, save
        from tests.models import make_generator, make_model

        (base / "images").mkdir(parents=True, exist_ok=True)
        for i in range(3):
            data = save(Image.fromarray(picture(8, 8)), "PNG")
            (base / "images" / f"{i}.png").write_bytes(data)
        if not (base / "generator").exists():
            make_generator(base / "generator", make_model(base / "model"))
        (base / "ready").touch()
    return base


def _trial(name: str, make: Callable[[Path], str], line: list[str], base: Path) -> Trial:
    return Trial(f"{name}/{line[0]}", lambda top: trial(top, prepared(base), make, line))


def trial(top: Path, base: Path, make: Callable[[Path], str], line: list[str]) -> str:
    """A command on an artefact; what was wrong."""
    import vqcli.cli.app
    import vqcli.jobs.encode
    import vqcli.library.importing  # so that forks need not import torch  # noqa: F401

    top = top.resolve()
    for name in ("here", "private"):
        (top / name).mkdir()
    (top / "private" / "id_rsa").write_text(SECRET)
    plant(top / "here", top)
    file = make(top / "here")
    places = {"file": file, "out": f"{top}/out", "base": str(base), "top": str(top)}
    arguments = [each.format(**places) for each in line]
    code, said, noticed = watched(top, lambda: command(arguments))
    return verdict(top, code, said, noticed) or check_names(top)


def control(top: Path, key: str) -> str:
    """A payload loaded as nobody should."""
    top = top.resolve()
    (top / "here").mkdir()
    plant(top / "here", top)
    data = pickles(top)[key]
    if "persistent" in key:

        class Loader(pickle.Unpickler):
            def persistent_load(self, pid: object) -> None: ...

        import io

        watched(top, lambda: Loader(io.BytesIO(data)).load() and 0, net=False)
    else:
        watched(top, lambda: pickle.loads(data) and 0, net=False)
    return "" if (top / CANARY).exists() else "a payload that is a dud: nothing came of loading it"


def planted(top: Path, base: Path, line: list[str]) -> str:
    """A fresh process, in a folder with modules of the names of those that it imports."""
    top = top.resolve()
    for name in ("here", "out", "cache", "tmp"):
        (top / name).mkdir()
    plant(top / "here", top, modules=True)
    root = Path(__file__).parents[2]
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "VQCLI_CACHE": str(top / "cache"),
        "HF_HUB_OFFLINE": "1",
    }
    arguments = [each.format(out=f"{top}/out", base=base, top=top) for each in line]
    done = subprocess.run(
        [sys.executable, "-m", "vqcli", *arguments],
        cwd=top / "here",
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    wrong = verdict(top, done.returncode, done.stdout + done.stderr, "")
    return wrong or (f"it did not work: {done.stderr[-500:]}" if done.returncode else "")
