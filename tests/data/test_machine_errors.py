"""What the machine refuses is no property of an image: tried again, then an error that names the file.

Every way to images x every call that reads x an error of the system, once and for good.
"""

import errno
import glob
import os
from pathlib import Path

import pytest

from tests.data.test_sources import make_folder, make_list, make_npz, make_parquet, make_tar
from tests.jobs.encoded import contents, options
from tests.models import make_model
from vqcli.data.globs import matches
from vqcli.data.images.open import open_source
from vqcli.errors import BadImage, VqcliError
from vqcli.files import patient, refused
from vqcli.jobs import encoder
from vqcli.jobs.encode import encode

MAKERS = {
    "folder": lambda at: make_folder(at / "images"),
    "list": lambda at: make_list(at / "images"),
    "glob": lambda at: make_folder(at / "images") / "*" / "*.png",
    "tar": lambda at: make_tar(at / "a.tar"),
    "shards": lambda at: make_tar(at / "images" / "a.tar").parent,
    "parquet": lambda at: make_parquet(at / "a.parquet"),
    "npz": lambda at: make_npz(at / "a.npz"),
}
CALLS = {"open": os, "stat": os, "pread": os, "scandir": os, "listdir": os, "_readinto": patient}
"""All that reading images does, and where it is found."""
MACHINE = (errno.EIO, errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ENOMEM, errno.ETIMEDOUT)


class Faults:
    """Lets calls fail whose path, or open file, lies below a folder."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, below: Path) -> None:
        self.patch, self.below = monkeypatch, str(below)
        self.seen, self.error = 0, 0
        self.fails = lambda n: False
        for name, module in CALLS.items():
            monkeypatch.setattr(module, name, self._wrap(getattr(module, name)))

    def _wrap(self, call):  # type: ignore[no-untyped-def]
        def wrapped(*args, **kwargs):  # type: ignore[no-untyped-def]
            path = args[0]
            if not isinstance(path, str | os.PathLike):
                path = Path(f"/proc/self/fd/{path if isinstance(path, int) else path.fileno()}").readlink()
            if str(path).startswith(self.below):
                self.seen += 1
                if self.fails(self.seen):
                    raise OSError(self.error, os.strerror(self.error), str(path))
            return call(*args, **kwargs)

        return wrapped

    def from_now(self, error: int, fails) -> None:  # type: ignore[no-untyped-def]
        self.seen, self.error, self.fails = 0, error, fails


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refused, "WAITS", (0, 0))


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Faults:
    return Faults(monkeypatch, tmp_path / "in")


def read(text: Path) -> list[bytes]:
    source = open_source(str(text))
    return [source[i].image.tobytes() for i in range(len(source))]


def some(calls: int) -> list[int]:
    """Numbers of calls: all at the start, then some."""
    return sorted({*range(1, min(calls, 8)), *range(8, calls, 9), calls})


@pytest.mark.parametrize("kind", MAKERS)
def test_any_call_that_fails_once_changes_nothing(kind: str, faults: Faults, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    text = MAKERS[kind](tmp_path / "in")
    faults.from_now(0, lambda seen: False)
    expected = read(text)
    for n in some(faults.seen):
        faults.from_now(MACHINE[n % len(MACHINE)], lambda seen, n=n: seen == n)
        assert read(text) == expected


@pytest.mark.parametrize("kind", MAKERS)
def test_any_call_that_keeps_failing_is_an_error_that_names_the_file(
    kind: str, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    text = MAKERS[kind](tmp_path / "in")
    faults.from_now(0, lambda seen: False)
    expected = read(text)
    for n in some(faults.seen):
        error = MACHINE[n % len(MACHINE)]
        faults.from_now(error, lambda seen, n=n: seen >= n)
        with pytest.raises(VqcliError) as caught:
            read(text)
        assert caught.value.reason == "os"
        assert str(tmp_path / "in") in str(caught.value)
        assert os.strerror(error) in str(caught.value)
        assert "\n" not in str(caught.value)
    faults.from_now(0, lambda seen: False)
    assert read(text) == expected


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["folder", "tar", "parquet", "npz"])
def test_encode_goes_on_after_the_machine_has_failed(
    kind: str, num_workers: int, faults: Faults, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "SHARD", 2)
    (tmp_path / "in").mkdir()
    text = MAKERS[kind](tmp_path / "in")
    asked = options(text, model, batch_size=2, num_workers=num_workers)
    encode(asked, tmp_path / "undisturbed")
    read(text)
    opening = faults.seen
    open_source(str(text))
    opening = faults.seen - opening
    faults.from_now(errno.EIO, lambda seen: seen > opening + 4)
    failed = tmp_path / "t"
    if kind != "parquet":  # which is read at once
        with pytest.raises(VqcliError, match="Input/output error") as caught:
            encode(asked, failed)
        assert caught.value.reason == "os"
        assert not any(
            "rejected" in line for path in failed.glob("*.jsonl") for line in path.read_text().split()
        )
    faults.from_now(errno.EMFILE, lambda seen: seen == opening + 2)
    result = encode(asked, failed)
    assert (result.encoded, result.rejected) == (6, [])
    assert contents(failed) == contents(tmp_path / "undisturbed")


def test_patterns_name_what_they_did(tmp_path: Path) -> None:
    make_folder(tmp_path / "a[1]" / "images")
    make_folder(tmp_path / "b")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.png").touch()
    (tmp_path / "b" / "link").symlink_to(tmp_path / "b" / "cat")
    (tmp_path / "b" / "broken").symlink_to(tmp_path / "b" / "nothing")
    patterns = "* */ *.png **/*.png **/ ** b/*/0*.png b/cat/* b/**/cat ?/cat/00.png .*/*.png b/nothing/*.png"
    for pattern in [
        *patterns.split(),
        "a[[]1]/**/*.png",
        "[bc]/*/00.png",
        "b/cat/00.png/*",
        "b/br*",
        "*/cat/",
    ]:
        for text in (f"{tmp_path}/{pattern}", os.path.relpath(tmp_path / pattern)):
            known = glob.glob(text, recursive=True)  # noqa: PTH207
            assert matches(text) == sorted(set(known)), pattern


def test_what_the_name_itself_decides_stays_a_rejection(tmp_path: Path) -> None:
    make_folder(tmp_path / "images", 2)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    names = ["images/cat/00.png", "gone.png", "pipe.png", "loop.png", "folder.png", "images/cat/00.png/x.png"]
    (tmp_path / "list.txt").write_text("\n".join([*names, "x" * 300 + ".png"]))
    source = open_source(str(tmp_path / "list.txt"))
    reasons = []
    for i in range(len(source)):
        try:
            source[i]
            reasons.append("")
        except BadImage as e:
            reasons.append(e.reason)
    assert reasons == ["", "missing", "not-a-file", "missing", "not-a-file", "missing", "missing"]


def test_links_that_lead_back_have_an_end(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "x.png").touch()
    for name in ("a", "b"):
        (tmp_path / "below" / name).symlink_to(tmp_path)
        (tmp_path / name).symlink_to(tmp_path / "below")
    found = matches(f"{tmp_path}/**/*.png")
    assert f"{tmp_path}/below/x.png" in found
    assert len(found) < 20
