"""Hostile files that are no pickles: recipes, shards, lists, folders, images, tables, names."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.reliability.canaries import CANARY
from tests.reliability.gadgets import HEADS, call, gadgets, name, npy, tar, text
from tests.reliability.names import NAMES

Make = Callable[[Path], str]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TAGS = (
    "!!python/object/apply:os.system ['touch {canary}']",
    "!!python/object/new:os.system ['touch {canary}']",
    "!!python/object/apply:subprocess.check_output [[touch, '{canary}']]",
    '!!python/object/apply:builtins.eval [\'open("{canary}", "w")\']',
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:argparse.Namespace {{a: 1}}",
    "!ENV ${{HOME}}",
)
TARGETS = (
    "tokenizer: {{target: os.system, params: {{command: 'touch {canary}'}}}}",
    "tokenizer: {{class_path: os.system, init_args: ['touch {canary}']}}",
    "tokenizer: {{_target_: os.system, command: 'touch {canary}'}}",
    "tokenizer: {{name: 'os:system'}}",
    "tokenizer: {{name: 'canary_code:run'}}",
    "data: {{source: '$(touch {canary})'}}",
    "data: {{source: '${{oc.env:HOME}}'}}",
    "data: {{source: 'pipe:touch {canary}'}}",
    "losses: {{'canary_code.run': 1.0}}",
    "plugins: {{canary_code: ['quantizer x']}}",
    "plugins: [canary_code]",
)
PLANTED = (
    ["--version"],
    ["info", "{base}/model"],
    ["encode", "{base}/images", "-m", "{base}/model", "-o", "{out}/t.npy", "--num-workers", "1"],
    ["list", "recipes"],
)
"""Commands that are given in a folder with modules that have other modules' names."""
MODULES = (
    "torch", "numpy", "typer", "yaml", "json", "sitecustomize", "usercustomize", "conftest", "safetensors",
    "PIL", "rich", "signal", "typing", "enum", "pydantic", "accelerate",
)  # fmt: skip


def plant(here: Path, top: Path, *, modules: bool = False) -> None:
    """Code that lies about: what a payload would load, and modules of well-known names."""
    code = f"open({str(top / CANARY)!r}, 'w')\ndef run(*given): pass\ndef {CANARY}(): pass\n"
    names = [f"{CANARY}_code", "hubconf", *(MODULES if modules else ())]
    for each in names:
        (here / f"{each}.py").write_text(code)
    inner = HEADS[2] + call(name("os", "system"), text(f"touch {top / CANARY}")) + b"."
    (here / f"{CANARY}.npy").write_bytes(npy("'|O'", inner))


def _recipe(lines: str) -> Make:
    def make(here: Path) -> str:
        path = here / "r.yaml"
        path.write_text("task: tokenizer\n" + lines.format(canary=here.parent / CANARY) + "\n")
        return "r.yaml"

    return make


def _run(lines: str) -> Make:
    def make(here: Path) -> str:
        (here / "run").mkdir()
        _recipe(lines)(here)
        (here / "r.yaml").rename(here / "run" / "recipe.yaml")
        return "run"

    return make


def _model(here: Path, **changed: object) -> Path:
    from tests.models import make_model

    folder = make_model(here / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changed))
    return folder


def _plugins(here: Path) -> str:
    folder = _model(here, plugins={"canary_code": ["tokenizer x"]})
    config = json.loads((folder / "config.json").read_text())
    config["tokenizer"]["name"] = "canary_code"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "canary_code.py").write_text((here / "canary_code.py").read_text())
    return "model"


def _remote(here: Path) -> str:
    """A repository in the client's cache, with code that ``trust_remote_code`` would run."""
    place = here.parent / "tmp" / ".cache/huggingface/hub/models--them--evil"
    snapshot = place / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    code = (here / "canary_code.py").read_text()
    for each in ("modeling_x.py", "configuration_x.py", "__init__.py", "setup.py"):
        (snapshot / each).write_text(code)
    config = {"auto_map": {"AutoModel": "modeling_x.run"}, "model_type": "x", "trust_remote_code": True}
    (snapshot / "config.json").write_text(json.dumps(config))
    (snapshot / "pytorch_model.bin").write_bytes(HEADS[2] + gadgets(here.parent)["os.system"] + b".")
    return "them/evil"


def _folder_with_code(here: Path) -> str:
    _remote(here)
    found = next((here.parent / "tmp").rglob("pytorch_model.bin")).parent
    found.rename(here / "repository")
    return "repository"


def _shard(here: Path) -> str:
    data = HEADS[2] + gadgets(here.parent)["os.system"] + b"."
    code = (here / "canary_code.py").read_bytes()
    endings = ("pkl", "pickle", "pth", "pt", "py", "pyd", "npy", "json", "cls", "torch", "so", "sh")
    members = {f"000.{ending}": code if ending == "py" else data for ending in endings}
    (here / "x.tar").write_bytes(tar({"000.png": _png(), **members, "__init__.py": code}))
    return "x.tar"


def _escaping_tar(here: Path) -> str:
    outside = (
        "../canary.png",
        "../../canary",
        "/tmp/canary",
        str(here.parent / "canary"),
        "a/../../canary.png",
    )
    (here / "x.tar").write_bytes(tar({each: _png() for each in outside}))
    return "x.tar"


def _png() -> bytes:
    from PIL import Image

    from tests.images import picture, save

    return save(Image.fromarray(picture(8, 8)), "PNG")


def _list(here: Path) -> str:
    canary = here.parent / CANARY
    lines = [f"pipe:touch {canary}", f"|touch {canary}", "http://127.0.0.1:9/x.png", "file:///etc/passwd",
             f"$(touch {canary})", f"`touch {canary}`", "s3://x/y.png", "hf://them/evil/x.png"]  # fmt: skip
    (here / "x.txt").write_text("\n".join(lines) + "\n")
    return "x.txt"


def _source(source: str) -> Make:
    return lambda here: source.format(canary=here.parent / CANARY)


def _images(here: Path) -> str:
    """What would start other programs, under honest and under false names."""
    canary, folder = here.parent / CANARY, here / "images"
    folder.mkdir()
    eps = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch {canary}) (w) file\nshowpage\n"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><script href="file://{canary}"/><image href="http://127.0.0.1:9/"/></svg>'
    pdf = f"%PDF-1.4\n1 0 obj<</OpenAction<</S/Launch/F(touch {canary})>>>>endobj\n"
    mvg = f"push graphic-context\nviewbox 0 0 8 8\nimage over 0,0 0,0 'https://x\"|touch {canary}\"'\n"
    for each, data in {"eps": eps, "svg": svg, "pdf": pdf, "mvg": mvg, "ps": eps}.items():
        for ending in (each, "png", "jpg"):
            (folder / f"{each}.{ending}").write_text(data)
    (folder / "good.png").write_bytes(_png())
    return "images"


def _parquet(here: Path) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = HEADS[2] + gadgets(here.parent)["os.system"] + b"."
    told = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": data}
    fields = [pa.field("image", pa.binary(), metadata=told), pa.field("label", pa.int64())]
    schema = pa.schema(fields, metadata={"pandas": '{"index_columns": ["__import__"]}', "pickle": data})
    pq.write_table(pa.table({"image": [_png()], "label": [0]}, schema=schema), here / "x.parquet")
    return "x.parquet"


def _header(here: Path) -> str:
    code = f"__import__('os').system('touch {here.parent / CANARY}')"
    (here / "x.npy").write_bytes(npy(code, b"\0" * 8))
    return "x.npy"


def _hidden_objects(here: Path) -> str:
    (here / "x.npy").write_bytes(
        npy("[('a', '<i8'), ('b', '|O')]", HEADS[2] + gadgets(here.parent)["os.system"] + b".")
    )
    return "x.npy"


def _links(listed: bool) -> Make:
    def make(here: Path) -> str:
        from vqcli import files

        folder = _model(here)
        if not listed:
            files.write_json(folder / "manifest.json", {"files": files.manifest(folder)})
        (folder / "usage.json").unlink(missing_ok=True)
        (folder / "extra.safetensors").symlink_to(here.parent / "private" / "id_rsa")
        (folder / "classes.json").symlink_to(here.parent / "private" / "id_rsa")
        (folder / "tokenizer").symlink_to(here.parent / "private")
        if listed:
            files.write_json(folder / "manifest.json", {"files": files.manifest(folder)})
        return "model"

    return make


def _named_images(here: Path) -> str:
    for i, each in enumerate(NAMES):
        folder = here / "images" / each.replace("/", "\u2215")
        folder.mkdir(parents=True)
        (folder / f"{each.replace('/', '')}{i}.png").write_bytes(_png())
    return "images"


def _named_weights(here: Path) -> str:
    from safetensors.torch import save

    from tests.importers.foreign import CASES

    case = CASES["taming"]
    file = "f`\n# Injected <b>[a](http://x).safetensors"
    (here / file.replace("/", "")).write_bytes(save(case.state(case.model())))
    return file.replace("/", "")


def _tokens(here: Path) -> str:
    """Tokens whose keys are paths to elsewhere."""
    import numpy as np

    np.save(here / "t.npy", np.zeros((4, 4, 4), np.uint8))
    keys = ["../canary", "../../../canary", f"{here.parent}/canary", "a/../../canary"]
    told = {"format": 1, "codebook_size": 16, "keys": keys, "grid": [[4, 4]], "size": [8, 8]}
    (here / "t.json").write_text(json.dumps(told))
    return "t.npy"


def _usage(here: Path) -> str:
    """A model that tells hostile texts of itself."""
    numbers = {
        "codebook_size": 16,
        "tokens": 4,
        "used": 2,
        "utilization": 0.1,
        "uniform_expectation": 0.2,
        "perplexity": 2.0,
    }
    folder = _model(here)
    told = numbers | {
        "images": "\x1b[2J <b>\u202e\nerror: x",
        "cautions": {"psnr": "\x1b]0;x\x07"},
        "psnr": 1.0,
    }
    (folder / "usage.json").write_text(json.dumps(told))
    return "model"


ENCODE = ["encode", "{file}", "-m", "{base}/model", "-o", "{out}/t", "--num-workers", "0"]
CHECK, INFO, TRAIN = ["check", "{file}"], ["info", "{file}"], ["train", "{file}", "-o", "{out}/run"]
PULL, IMPORT = ["pull", "{file}", "-o", "{out}/copy"], ["import", "{file}", "-o", "{out}/model"]
OF_MODEL = ["encode", "{base}/images", "-m", "{file}", "-o", "{out}/t.npy", "--num-workers", "0"]
EVALUATE = [
    "evaluate",
    "{base}/model",
    "--images",
    "{file}",
    "--metrics",
    "psnr",
    "-o",
    "{out}/e",
    "--num-workers",
    "0",
]
REPORT = ["usage-report", "{base}/model", "--images", "{file}", "-o", "{out}/u.html", "--num-workers", "0"]
DECODE = ["decode", "{file}", "-o", "{out}/images", "-m", "{base}/model"]
ARTEFACTS: dict[str, tuple[Make, list[list[str]]]] = {
    **{f"yaml/{i}": (_recipe(f"tokenizer: {tag}"), [CHECK, TRAIN]) for i, tag in enumerate(TAGS)},
    **{f"recipe/{i}": (_recipe(line), [CHECK, TRAIN]) for i, line in enumerate(TARGETS)},
    **{
        f"run/{i}": (_run(line), [INFO, ["train", "--resume", "{file}"], ["runs", "."]])
        for i, line in enumerate((f"tokenizer: {TAGS[0]}", TARGETS[0], TARGETS[-1]))
    },
    "plugins/config": (_plugins, [INFO, OF_MODEL, ["evaluate", "{file}", "--images", "{base}/images"]]),
    "remote/cache": (_remote, [INFO, OF_MODEL, PULL]),
    "remote/folder": (_folder_with_code, [INFO, OF_MODEL, PULL, IMPORT]),
    "shard/members": (_shard, [ENCODE, INFO, EVALUATE]),
    "shard/escape": (_escaping_tar, [ENCODE, INFO, EVALUATE]),
    "list/lines": (_list, [ENCODE, INFO, EVALUATE]),
    **{
        f"source/{i}": (_source(each), [ENCODE, EVALUATE])
        for i, each in enumerate(
            ("pipe:touch {canary}", "http://127.0.0.1:9/x.tar", "file:///etc/passwd", "$(touch {canary})",
             "{{0..9}}.tar", "canary_code:run")
        )
    },
    "images/programs": (_images, [ENCODE, EVALUATE, INFO]),
    "parquet/extension": (_parquet, [ENCODE, INFO, EVALUATE]),
    "npy/header": (_header, [DECODE, ENCODE, INFO]),
    "npy/structured": (_hidden_objects, [DECODE, ENCODE, INFO]),
    "links/listed": (_links(True), [PULL]),
    "links/unlisted": (_links(False), [PULL]),
    "names/images": (_named_images, [ENCODE, EVALUATE, REPORT, INFO]),
    "names/weights": (_named_weights, [IMPORT, INFO]),
    "names/usage": (_usage, [INFO, ["usage-report", "{file}"], PULL]),
    "names/keys": (_tokens, [DECODE, INFO]),
}  # fmt: skip
