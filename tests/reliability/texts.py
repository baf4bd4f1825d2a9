"""The parsers of texts that are fuzzed: recipes, names, lists, headers; and what makes texts harmless."""

import http.client
import io
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from unittest.mock import patch

import typer

from tests.reliability.fuzz import Target
from vqcli import yaml_text
from vqcli.cli.options import parse_sampling, parse_size
from vqcli.cli.text import visible
from vqcli.data.classes import find_classes
from vqcli.data.images import splits
from vqcli.data.images.fields import field_of, parsed
from vqcli.data.images.labels import LabelReader, numbered
from vqcli.data.images.layout import layout
from vqcli.data.images.lists import listed, text_of
from vqcli.errors import VqcliError
from vqcli.importers.shards import is_beside
from vqcli.jobs.decode import FileNames
from vqcli.library import references
from vqcli.library.downloads import client, settings, web
from vqcli.library.downloads.pace import Pace
from vqcli.library.networks import NetworkFile
from vqcli.report.evaluation import evaluation_page
from vqcli.report.svg import picture, text
from vqcli.training.recipe import _check_duration, parse_recipe, steps_in

NAMES = [
    "tench",
    "great white shark",
    "crane",
    "crane",
    "n02099601",
    "7",
    "red_fox",
    "-1",
    "ß",
    "golden retriever",
]
RECIPE = b"""task: tokenizer
seed: 0
data: {source: demo:100, size: 32}
tokenizer: {name: conv, network: small-4, codebook: {name: bridged, size: 64, width: 8, bridge: B/2}}
losses: {l2: 1.0}
optimizer: {lr: 5e-4, betas: [0.9, 0.95], clip: 1.0}
schedule: {decay: linear, hold: 0.3}
training: {steps: 40 epochs, batch_size: 8}
"""
YAML = [
    b"a: 1\nb: [1, 2.5, x]\n",
    b"a:\n  b: {c: d}\n- e\n",
    b"'q': \"\\x41\"\nn: 1e-4\n",
    b"? a\n: |\n  x\n  y\n",
    b"&a b: *a",
]
FILE = NetworkFile("https://host.example/w", 10, "0" * 64, "", "MIT")


def told(data: bytes) -> str:
    """A text as arguments and names of files come."""
    return data.decode("utf-8", "surrogateescape")


def run_yaml(data: bytes, folder: Path) -> None:
    value = yaml_text.parse_yaml(told(data), "it")
    assert value is None or isinstance(value, str | int | float | list | dict | bool), type(value)


def run_recipe(data: bytes, folder: Path) -> None:
    value = yaml_text.parse_yaml(told(data), "it")
    if isinstance(value, dict):
        parse_recipe(value, "it")


def run_override(data: bytes, folder: Path) -> None:
    yaml_text.override({"a": {"b": 1}}, [told(data)])
    parse_sampling([told(data)])


def run_list(data: bytes, folder: Path) -> None:
    found = listed(text_of(data, "it"), lambda name: len(name) % 7 == 3, "it")
    assert len(found.names) == len(found.labels)


def run_folders(data: bytes, folder: Path) -> None:
    names = told(data).split("\n")
    splits.by_first_folder(names), splits.by_file_name(names), layout(names)


def run_labels(data: bytes, folder: Path) -> None:
    reader = LabelReader()
    found = numbered([reader.take_text(line) for line in data.split(b"\n")])
    assert all(label is None or 0 <= label < 1 << 31 for label in found.labels), found.labels
    assert not found.classes or all(label is None or label < len(found.classes) for label in found.labels)
    reader.remarks(), field_of(parsed(data), "label.a")


def run_reference(data: bytes, folder: Path) -> None:
    found = references.parse(told(data))
    for name in (*found.repository.split("/"), found.revision, *filter(None, found.file.split("/"))):
        assert name not in (".", "..") and not set(name) & set('\0\n/\\:*?"<>|'), name
    assert found.repository.count("/") == 1 and not found.file.startswith("/")


def run_published(data: bytes, folder: Path) -> None:
    references.published(told(data[:250]).replace("\0", ""))  # no longer than a file's name can be


def run_plain(data: bytes, folder: Path) -> None:
    name = told(data)
    if references.is_plain(name) and name:
        assert ".." not in PurePosixPath(name).parts and (folder / name).resolve().is_relative_to(
            folder.resolve()
        )
    assert not is_beside(name) or PurePosixPath(name).name == name


def run_size(data: bytes, folder: Path) -> None:
    size = parse_size(told(data))
    assert size == "native" or (0 < size[0] < 100_000 and 0 < size[1] < 100_000)


def run_duration(data: bytes, folder: Path) -> None:
    try:
        steps = steps_in(_check_duration(told(data)), 1000)
    except ValueError as e:
        raise VqcliError(str(e)) from e
    assert steps >= 0


def run_headers(data: bytes, folder: Path) -> None:
    parts = (told(data).split("\n") + [""] * 4)[:4]
    names = ("X-Linked-Etag", "X-Repo-Commit", "ETag", "Retry-After")
    code = 429 if len(data) % 5 == 0 else 200
    answer = SimpleNamespace(
        headers=dict(zip(names, parts)), status_code=code, request=SimpleNamespace(method="HEAD")
    )
    client.believable(answer)
    if code == 200:
        for value in (parts[0] or parts[2], parts[1]):
            value = value.removeprefix("W/").strip('"')
            assert not value or (len(value) in (40, 64) and set(value) <= set("0123456789abcdef")), value


def run_settings(data: bytes, folder: Path) -> None:
    value = told(data).replace("\0", "")
    environment = dict.fromkeys((*settings.ALL, "HF_ENDPOINT"), value)
    settings.trouble(settings.ALL, "", environment), settings.hub_trouble(environment)
    settings.proxy_of("host.example", environment)


class _Line(io.BytesIO):
    """A connection that says what is in it."""

    def makefile(self, mode: str) -> io.BytesIO:
        return self


def run_answer(data: bytes, folder: Path) -> None:
    """What a server says to ``Range: bytes=4-``: a file of ten bytes comes whole, or an error."""

    def answer(file: NetworkFile, start: int, pace: Pace) -> http.client.HTTPResponse:
        response = http.client.HTTPResponse(_Line(data))
        try:
            response.begin()
        except (OSError, http.client.HTTPException) as e:
            raise web._unreached("host.example", e) from e
        return response

    with patch.object(web, "_answer", answer):
        pieces = list(web._pieces(FILE, 4, Pace()))
    assert (
        pieces
        and pieces[0][0] in (0, 4)
        and pieces[0][0] + sum(len(piece) for _, piece in pieces) == FILE.bytes
    )


class _Tags(HTMLParser):
    """What is active in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found += [tag, *(name for name, _ in attrs)]


PAGE = _Tags()
PAGE.feed(evaluation_page("x", [("x", "x")], {"x": "x"}, "x") + picture([text(0, 0, "x")], "x"))


def run_page(data: bytes, folder: Path) -> None:
    said, page = told(data) or "x", _Tags()
    page.feed(evaluation_page(said, [(said, said)], {said: said}, said) + picture([text(0, 0, said)], said))
    assert page.found == PAGE.found, page.found


def run_terminal(data: bytes, folder: Path) -> None:
    shown = visible(told(data))
    shown.encode()
    assert not any(c < " " or "\x7f" <= c <= "\x9f" or "\u202a" <= c <= "\u202e" for c in shown), shown


def run_paths(data: bytes, folder: Path) -> None:
    name, taken = FileNames(), set()
    for key in told(data).split("\n")[:8] * 2:
        path = PurePosixPath(name(key))
        assert not path.is_absolute() and ".." not in path.parts and path.suffix == ".png", path
        assert str(path).isprintable() and all(len(part.encode()) < 250 for part in path.parts), path
        assert str(path).casefold() not in taken, path
        taken.add(str(path).casefold())


def targets() -> list[Target]:
    hash_ = b"0123456789abcdef0123456789abcdef01234567"
    answers = [
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 4-9/10\r\nContent-Length: 6\r\n\r\n456789",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n0123456789",
    ]
    folders = [
        b"train/a/1.png\ntest/a/2.png",
        b"a-train-00000.tar\na-test-00000.tar",
        b"00000/1.jpg\n00001/2.jpg\n00000.parquet",
    ]
    wild = [
        b"<b onload=x>",
        b"</title><script>",
        b"=1+1",
        b"@SUM(1)",
        b"\x1b]8;;x\x07",
        b"'\"&lt;",
        b"con.png",
        b".png/",
        b"%2e",
    ]
    names = [
        b"owner/name",
        b"owner/name@main",
        b"hf://o/n@v1.0/a/b.pt",
        b"llamagen-vq16",
        b"runs/demo",
        b"a--b/c.git",
    ]
    return [
        Target(
            "answer",
            run_answer,
            answers,
            60_000,
            1_200,
            [b"Content-Length: ", b"\r\n", b"206", b"chunked", b"Content-Range: "],
        ),
        Target(
            "classes",
            lambda d, f: find_classes(told(d), NAMES, 10),
            [b"3", b"0-9", b"all", b"crane", b"fox"],
            40_000,
            1_000,
            [name.encode() for name in NAMES],
        ),
        Target(
            "duration",
            run_duration,
            [b"40 epochs", b"1.5 steps", b"7"],
            504_000,
            8_000,
            [b" epochs", b" steps"],
        ),
        Target(
            "folders",
            run_folders,
            folders,
            60_000,
            2_000,
            [b"train", b"val", b"/", b"\n", b"test_images", b".png"],
        ),
        Target(
            "headers",
            run_headers,
            [hash_ + b"\n" + hash_, b'W/"' + hash_ + b'"\n\n' + hash_ + b"\n99"],
            504_000,
            8_000,
            [b"W/", hash_],
        ),
        Target(
            "labels",
            run_labels,
            [b"3\n4\n5", b"cat\ndog\n\n-1", b"2019\n2020", b"1.0\nx"],
            300_000,
            4_000,
            [b"1", b"\n", b"a"],
        ),
        Target(
            "list",
            run_list,
            [
                b"a.png\nb.jpg 3\n# c\n",
                b"file_name,label\na.png,cat\n",
                b"k\t1\ta.png",
                b"'a b.png' \"x\"\n~/a.png",
                "a.png\n".encode("utf-16"),
                b"file://a%20b.png",
            ],
            252_000,
            4_000,
            [b".png", b".jpg", b"file_name", b"label", b"://"],
        ),
        Target(
            "override",
            run_override,
            [b"a.b=1", b"a.c.d=[1, 2]", b"a={b: c}"],
            40_000,
            1_000,
            [b"a.b=", b"a."],
        ),
        Target("page", run_page, [b"a name", b"<b>"], 16_000, 500, wild),
        Target(
            "paths",
            run_paths,
            [b"a/b.jpg\na/b.png", b"/etc/../x\n.hidden\nA.png"],
            40_000,
            1_000,
            [*wild, b"/../", b"a" * 260],
        ),
        Target("plain", run_plain, names, 304_000, 8_000, [b"/../", b"a/", b"//"]),
        Target("published", run_published, names, 200_000, 8_000, [b"hf://", b"@", b"/", b"--", b".git"]),
        Target(
            "recipe",
            run_recipe,
            [RECIPE],
            6_000,
            150,
            [b"name: ", b"fvq", b"fsq", b"gpt", b"1e999", b".nan", b"{}", b"null", b"size: "],
        ),
        Target("reference", run_reference, names, 400_000, 8_000, [b"hf://", b"@", b"/", b"--", b".git"]),
        Target(
            "settings",
            run_settings,
            [b"http://u:p@host:80", b"socks5://h:1", b"[::1]:9"],
            150_000,
            2_000,
            [b"://", b"@", b":", b"["],
        ),
        Target(
            "size", run_size, [b"256", b"256x384", b"native"], 600_000, 8_000, [b"x"], (typer.BadParameter,)
        ),
        Target("terminal", run_terminal, [b"a name", "\u202egnp.a".encode()], 400_000, 8_000, wild),
        Target(
            "yaml",
            run_yaml,
            YAML,
            40_000,
            1_000,
            [b"!!python/name:os.system", b"<<: ", b"- ", b"? ", b"|\n", b"\n  ", b"12:30:00"],
        ),
    ]
