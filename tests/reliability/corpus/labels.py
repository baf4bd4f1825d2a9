"""Labels of images: words beside lists, files of JSON beside pictures, names of classes."""

from __future__ import annotations

from collections.abc import Iterator

from tests.reliability.corpus.base import picture
from tests.reliability.corpus.case import DEVICE, Case, both, encode, put

PAIR = both(put("in/a.png", picture()), put("in/b.png", picture(1)))
BESIDE: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"label": ',
    "list": b"[1]",
    "deep": b"[" * 50_000,
    "digits": b'{"label": ' + b"9" * 5000 + b"}",
    "nan": b'{"label": NaN}',
    "infinite": b'{"label": 1e999}',
    "utf-16": '{"label": 1}'.encode("utf-16"),
    "binary": bytes(range(256)),
    "surrogate": b'{"label": "\\ud800"}',
    "nul": b'{"label": "a\\u0000"}',
    "beyond": b'{"label": 99999999999999999999}',
    "section": b'{"label": {"a": 1}}',
    "label-list": b'{"label": [1, 2]}',
    "float": b'{"label": 1.5}',
    "negative": b'{"label": -1}',
    "text": b'{"label": "' + b"x" * 100_000 + b'"}',
}
UNREADABLE = ("empty", "half", "list", "deep", "digits", "nan", "utf-16", "binary")
TRAIN = """task: generator
data: {{source: in, augment: none, num_workers: 0, holdout: 0.2}}
tokenizer: {base}/tok
generator: {{name: gpt, classes: 2, layers: 1, heads: 2, width: 16, ffn_multiple: 8}}
training: {{steps: 1, batch_size: 2}}
"""
SAID = ("labels", "input-missing", "damaged", "input-empty", "format", "no-info", "class", "option")


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    for name, data in BESIDE.items():
        make = both(PAIR, put("in/a.json", data), put("in/b.json", data))
        yield Case(f"unasked-{name}", make, encode("in"), 0)
        code = 1 if name in UNREADABLE else 0  # what is there and is no label is none, and told
        yield Case(f"beside-{name}", make, encode("in", "--label-column", "label"), code, SAID)
    yield Case(
        "no-such-field", both(PAIR, put("in/a.json", b"{}")), encode("in", "--label-column", "x"), 1, SAID
    )
    yield Case("column-5000", PAIR, encode("in", "--label-column", "x" * 5000), 1, SAID)
    yield Case("no-folders", PAIR, encode("in", "--label-column", "folder"), 1, SAID)
    for name, line in (
        ("word", b"in/a.png\tcat\n"),
        ("beyond", b"in/a.png\t99999999999999999999\n"),
        ("nan", b"in/a.png\tnan\n"),
    ):
        yield Case(f"list-{name}", both(PAIR, put("l.txt", line + b"in/b.png\n")), encode("l.txt"), 0)
    recipe = put("r.yaml", TRAIN.format(base="tok").replace("tok/tok", "tok").encode())
    make = both(PAIR, recipe)
    yield Case("train-without", make, ("train", "r.yaml", "--out", "out", *DEVICE, "--json"), 1,
               ("labels", "input-empty", "input-missing", "reference", "class"))  # fmt: skip
