"""The parsers of data that are fuzzed, with inputs that they know; what they may raise is documented."""

import io
import json
import struct
import zipfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save

from tests.reliability import texts
from tests.reliability.fuzz import Target
from vqcli import files
from vqcli.checkpoint.folder import read_config
from vqcli.data.decode import decode_image
from vqcli.data.decoding.foreign import no_image, told_format, unread_image
from vqcli.data.decoding.png import PNG_MAGIC, chunks, plain
from vqcli.data.decoding.profiles import make_profile
from vqcli.data.decoding.tiff import tags, with_black_as_zero
from vqcli.data.images import npz
from vqcli.data.images.archive import Damaged, members
from vqcli.data.images.tar import TarSource
from vqcli.data.location import Listing, Location
from vqcli.data.tokens.files import TokensFile, TokensFolder
from vqcli.data.tokens.rows import open_token_rows
from vqcli.data.tokens.store import write_array
from vqcli.errors import BadImage, VqcliError
from vqcli.importers.containers import read_checkpoints
from vqcli.importers.shards import read_index
from vqcli.jobs.tokens_info import describe_tokens
from vqcli.metrics.usage.record import UsageRecord
from vqcli.types import ANYHOW, Reading

SIDE = {
    "format": 1,
    "codebook_size": 16,
    "fingerprint": "ab",
    "preprocessing": "none",
    "views": 1,
    "classes": ["a", "b"],
    "grid": [[2, 2]],
    "rejected": [],
    "keys": ["x", "y"],
    "labels": [0, None],
    "keep": ["k"],
    "extras": [{"k": 1}, {}],
}
PLAN = {
    "format": 1,
    "tokens": {
        "codebook_size": 16,
        "fingerprint": "ab",
        "preprocessing": "",
        "views": 1,
        "classes": ["a"],
        "keep": ["k"],
    },
}
INDEX = {
    "shards": 1,
    "encoded": 2,
    "rejected": [],
    "grid": [[2, 2]],
    "sha256": {"tokens-00000.jsonl": "0" * 64},
}
LINE = {"status": "ok", "key": "x", "label": 1, "grid": [[2, 2]]}
USAGE = {
    "images": "8 images",
    "codebook_size": 16,
    "tokens": 9,
    "used": 3,
    "utilization": 0.2,
    "uniform_expectation": 0.4,
    "perplexity": 2.5,
    "psnr": 20.5,
    "cautions": {"rfid": "few"},
}
CONFIG = {
    "format": 1,
    "kind": "tokenizer",
    "fingerprint": "ab",
    "codebook_size": 16,
    "width": 4,
    "downsample": 8,
    "image_size": [32, 32],
    "tokenizer": {"name": "x"},
    "plugins": {"x": ["y"]},
}


class Memory(Location):
    """A file that is bytes."""

    def __init__(self, data: bytes, name: str = "it.tar") -> None:
        self.data, self.name = data, name

    def __str__(self) -> str:
        return self.name

    def __truediv__(self, name: str) -> Location:
        raise FileNotFoundError

    def exists(self) -> bool:
        return True

    def is_folder(self) -> bool:
        return False

    def open(self) -> io.BytesIO:
        return io.BytesIO(self.data)

    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]

    def listing(self, suffixes) -> Listing:
        return Listing({}, {})


def put(folder: Path, name: str, data: bytes) -> Path:
    """A file of these bytes."""
    path = folder / name
    with open(path, "wb", buffering=0) as file:
        file.write(data)
    return path


@cache
def once(folder: Path, name: str, data: bytes) -> Path:
    """A file that stays as it is while its neighbours change."""
    return put(folder, name, data)


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (9, 7), **options) -> bytes:
    chance = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 4)).astype(np.uint8)
    image = Image.fromarray(chance, "RGBA").convert("RGB").convert(mode)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures() -> list[bytes]:
    from PIL import ImageCms, PngImagePlugin

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274], exif[270] = 6, "x"
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 40, zip=True)
    text.add_itxt("c", "d", "en", "e", zip=True)
    return [
        picture("PNG", pnginfo=text),
        picture("PNG", "P"),
        picture("PNG", "LA"),
        picture("PNG", "I;16"),
        picture("PNG", icc_profile=profile[:600]),
        picture("JPEG", exif=exif),
        picture("JPEG", "CMYK"),
        picture("JPEG", "L", icc_profile=profile[:900]),
        picture("TIFF"),
        picture("TIFF", "I;16"),
        picture("TIFF", compression="tiff_lzw"),
        picture("TIFF", "F"),
        picture("GIF", "P"),
        picture("BMP"),
        picture("WEBP", lossless=True),
        picture("WEBP", exif=exif),
    ]


def mend_png(data: bytearray) -> None:
    if data.startswith(PNG_MAGIC):
        for name, at, size in list(chunks(bytes(data), all_of_them=True)):
            data[at + size : at + size + 4] = struct.pack(">I", zlib.crc32(name + data[at : at + size]))


def mend_tar(data: bytearray) -> None:
    for at in range(0, len(data) - 511, 512):
        if data[at + 257 : at + 262] == b"ustar":
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + 512])


def tars() -> list[bytes]:
    import tarfile

    def made(form: int, *names: str, link: str = "") -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                data = b"7" if name.endswith("cls") else b'{"label": 3}' if name.endswith("json") else b"pix"
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
            if link:
                info = tarfile.TarInfo("l.png")
                info.type, info.linkname = tarfile.SYMTYPE, link
                archive.addfile(info)
        return file.getvalue()[:6144]

    return [
        made(tarfile.USTAR_FORMAT, "a.png", "a.cls")[:3072],
        made(tarfile.PAX_FORMAT, "é.jpg", "é.json")[:5120],
        made(tarfile.GNU_FORMAT, "d/" * 60 + "a.png")[:4096],
        made(tarfile.USTAR_FORMAT, "a.png", link="a.png")[:3072],
    ]


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def run_npz(data: bytes, folder: Path) -> None:
    """The bytes as the members of a sound zip; or, where they are a zip, as they are."""
    if not data.startswith(b"PK"):
        file = io.BytesIO()
        with zipfile.ZipFile(
            file, "w", zipfile.ZIP_DEFLATED if len(data) % 2 else zipfile.ZIP_STORED
        ) as archive:
            for name in ("arr_0", "arr_1", "mu", "resize"):
                archive.writestr(f"{name}.npy", data)
        data = file.getvalue()
    place = Memory(data, "it.npz")
    for look in (
        lambda: npz.NpzSource([place]),
        lambda: npz.read_statistics(place),
        lambda: npz.read_word(place, "resize"),
    ):
        try:
            look()
        except VqcliError as e:
            last = e
        else:
            continue
        raise last


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


def saved(value: object, **options) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def mend_zip(data: bytearray) -> None:
    """Checksums of stored records."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for info in archive.infolist():
                at = info.header_offset
                names, extra = struct.unpack_from("<HH", data, at + 26)
                start = at + 30 + names + extra
                crc = struct.pack("<I", zlib.crc32(data[start : start + info.file_size]))
                data[at + 14 : at + 18] = crc
                central = data.find(b"PK\1\2" + data[at + 4 : at + 6], start)
                while central >= 0 and struct.unpack_from("<I", data, central + 42)[0] != at:
                    central = data.find(b"PK\1\2", central + 4)
                if central >= 0:
                    data[central + 16 : central + 20] = crc
    except Exception:
        return


def run_tokens(data: bytes, folder: Path) -> None:
    once(folder, "t.npy", npy(np.zeros((2, 2, 2), np.uint8)))
    put(folder, "t.json", data)
    describe_tokens(folder / "t.npy", "tokens").rows()
    found = TokensFile(folder / "t.npy")
    assert len(list(found.rows(((2, 2),)))) == 2


def run_array(data: bytes, folder: Path) -> None:
    found = TokensFile(put(folder, "t.npy", data))
    for _ in found.blocks():
        break


def run_index(name: str, data: bytes, folder: Path) -> None:
    once(folder, "plan.json", json.dumps(PLAN).encode())
    once(folder, "index.json", json.dumps(INDEX).encode())
    put(folder, name, data)
    once(folder, "tokens-00000.jsonl", js(LINE) + b"\n")
    describe_tokens(folder, "tokens").rows()
    len(TokensFolder(folder))


def run_shard(data: bytes, folder: Path) -> None:
    """Lines that are sealed as they are: a stranger can do that too."""
    run_index("index.json", json.dumps(INDEX | {"encoded": data.count(b"ok")}).encode(), folder)
    try:
        lines = [json.loads(line) for line in data.splitlines()]
    except (ValueError, RecursionError):
        lines = [data.decode(errors="replace")]
    try:
        write_array(folder, 0, lines, np.zeros((2, 4), np.uint8))
    except (ValueError, RecursionError):
        return
    found = TokensFolder(folder)
    list(found.rows()), list(found.blocks()), open_token_rows(folder)


def run_manifest(data: bytes, folder: Path) -> None:
    once(folder, "a.safetensors", b"1234")
    put(folder, "manifest.json", data)
    files.verified(folder)


def run_tar(data: bytes, folder: Path) -> None:
    TarSource([Memory(data)], ANYHOW if len(data) % 2 else Reading(keep=("caption", "a")))


def run_small(data: bytes, folder: Path) -> None:
    """What looks at the first bytes of an image, and its tags."""
    told_format(data), unread_image(data), no_image(data), tags(data), with_black_as_zero(data)
    assert len(plain(PNG_MAGIC + data)[0]) < len(data) + (33 << 20)


def run_profile(data: bytes, folder: Path) -> None:
    values = np.frombuffer(data[:36].ljust(36, b"\0"), "<f4").astype(float).tolist()
    profile = make_profile(tuple(values[:8]), values[8])
    assert profile is None or profile[36:40] == b"acsp"


def run_lines(data: bytes, folder: Path) -> None:
    """All lines that are good; then an error where some were not."""
    path, bad = put(folder, "m.jsonl", data), []
    good = list(files.read_lines(path, bad.append))
    assert all(isinstance(line, dict) for line in good)
    assert bad or good == list(files.read_lines(path))
    assert len(good) + len(bad) in (data.count(b"\n"), data.count(b"\n") + 1), (good, bad)
    list(files.read_lines(path))


def run_json(data: bytes, folder: Path) -> None:
    value = files.parse_json(data, "it")
    json.dumps(value, allow_nan=False)
    files.parse_sealed(data, "it")


def run_tensors(data: bytes, folder: Path) -> None:
    path = put(folder, "m.safetensors", data)
    files.load_tensors(path, "numpy" if len(data) % 2 else "pt")


def js(value: object) -> bytes:
    return json.dumps(value).encode()


def keys(value: object) -> list[bytes]:
    """The names in a JSON value, quoted, for dictionaries."""
    found = [js(name) for name in value] if isinstance(value, dict) else []
    return [*found, b"1", b"[]", b"{}", b'""', b"-1", b"1e999", b"[[2, 2]]", b"NaN"]


def targets() -> list[Target]:
    """All of them: about twelve minutes of one processor."""
    shard = b"".join(js(line) + b"\n" for line in (LINE, LINE | {"key": "y", "extras": {"k": 1}}))
    tensors = {"encoder.a.weight": np.zeros((2, 3), np.float32), "b": np.zeros(1, np.int64)}
    weights = [save(tensors), save(tensors, {"format": "pt"})]
    model = {"state_dict": {"a.b": torch.zeros(2, 2)}, "epoch": 1}
    pickled = [saved(model), saved({"ema": model["state_dict"]}), saved({"a": torch.zeros(1).half()})]
    legacy = [saved(model, _use_new_zipfile_serialization=False)]
    index = {"metadata": {"total_size": 9}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}
    manifest = {"files": {"a.safetensors": {"bytes": 4, "sha256": "0" * 64}}}
    arrays_ = [
        npy(np.zeros((2, 3, 3, 3), np.uint8)),
        npy(np.arange(2)),
        npy(np.array(["a", "b"])),
        npy(np.zeros(3)),
        npy(np.array("word")),
    ]
    whole = zipped(arr_0=arrays_[0], arr_1=arrays_[1]), zipped(mu=npy(np.zeros(2)), sigma=npy(np.eye(2)))
    ids = [npy(np.zeros((2, 2, 2), kind)) for kind in (np.uint8, np.int64, ">u2")]
    npy_words = [
        b"'descr'",
        b"'|u1'",
        b"'<f8'",
        b"'|O'",
        b"'<U9'",
        b"(2, 3)",
        b"True",
        b"\x93NUMPY\x01\0",
        b"(",
        b"L",
    ]
    tar_words = [
        b"17 path=abcdefgh\n",
        b"11 size=99\n",
        b"ustar\0",
        b"ustar  \0",
        b"x",
        b"g",
        b"L",
        b"S",
        b"\x80",
    ]
    pickle_words = [
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"cbuiltins\nbytearray\n",
        b"cos\nsystem\n",
        b"R",
        b"b",
        b".",
    ]
    image = [
        b"IDAT",
        b"IHDR",
        b"iCCP",
        b"eXIf",
        b"cICP",
        b"gAMA",
        b"cHRM",
        b"sRGB",
        b"tRNS",
        b"\xff\xd8\xff",
        b"\xff\xe1",
        b"Exif\0\0",
        b"II*\0",
        b"MM\0*",
        b"\xff\xc0",
        b"\xff\xe2",
        b"ICC_PROFILE\0\1\1",
        b"ftypavif",
        b"RIFF",
    ]
    floats = [
        np.array(values, "<f4").tobytes() for values in ((0.31, 0.33, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 2.2),)
    ]
    bad = (BadImage,)
    return [
        Target("array", run_array, ids, 24_000, 600, npy_words),
        Target(
            "checkpoint",
            lambda d, f: read_checkpoints(put(f, "m.pt", d)),
            pickled,
            16_000,
            400,
            pickle_words,
            mend=mend_zip,
        ),
        Target(
            "config",
            lambda d, f: read_config(put(f, "config.json", d).parent),
            [js(CONFIG)],
            30_000,
            1_000,
            keys(CONFIG),
        ),
        Target("image", lambda d, f: decode_image(d, "x"), pictures(), 40_000, 500, image, bad, mend_png),
        Target("image-head", run_small, [p[8:] for p in pictures()] + pictures(), 252_000, 3_000, image),
        Target("index", lambda d, f: run_index("index.json", d, f), [js(INDEX)], 3_000, 100, keys(INDEX)),
        Target(
            "json", run_json, [js(CONFIG), js([SIDE]), js(files.sealed(CONFIG))], 500_000, 4_000, [b'"seal"']
        ),
        Target("legacy", lambda d, f: read_checkpoints(put(f, "m.pt", d)), legacy, 12_000, 300, pickle_words),
        Target("lines", run_lines, [shard, b'{"step": 1, "loss": 0.5}\n{"st'], 40_000, 1_000, keys(LINE)),
        Target("manifest", run_manifest, [js(manifest)], 40_000, 1_000, keys(manifest)),
        Target("npz", run_npz, [*arrays_, *whole], 16_000, 400, npy_words),
        Target("plan", lambda d, f: run_index("plan.json", d, f), [js(PLAN)], 12_000, 400, keys(PLAN)),
        Target("profile", run_profile, floats, 30_000, 1_000),
        Target(
            "safetensors",
            lambda d, f: read_checkpoints(put(f, "m.safetensors", d)),
            weights,
            24_000,
            600,
            [b'"dtype"', b'"F32"', b'"shape"', b'"data_offsets"', b"[0,24]", b'"__metadata__"'],
        ),
        Target("shard", run_shard, [shard], 6_000, 150, keys(LINE)),
        Target("tar", run_tar, tars(), 32_000, 800, tar_words, mend=mend_tar),
        Target(
            "tar-members",
            lambda d, f: list(members(io.BytesIO(d))),
            tars(),
            252_000,
            2_000,
            tar_words,
            (Damaged,),
            mend_tar,
        ),
        Target(
            "tensors",
            run_tensors,
            weights,
            24_000,
            600,
            [b'"dtype"', b'"F32"', b'"F8_E4M3"', b'"BF16"', b'"C64"', b'"F4"', b'"shape"', b"[0,24]"],
        ),
        Target("tokens", run_tokens, [js(SIDE), js({"grid": [[2, 2]]})], 12_000, 300, keys(SIDE)),
        Target(
            "usage",
            lambda d, f: UsageRecord.read(put(f, "usage.json", d).parent),
            [js(USAGE)],
            40_000,
            1_000,
            keys(USAGE),
        ),
        Target(
            "weights-index",
            lambda d, f: read_index(put(f, "m.index.json", d)),
            [js(index)],
            40_000,
            1_000,
            keys(index),
        ),
        *texts.targets(),
    ]
