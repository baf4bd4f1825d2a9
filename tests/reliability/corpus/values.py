"""Values on the command line, and settings of a recipe that are given there."""

from __future__ import annotations

from collections.abc import Iterator

from tests.reliability.corpus.case import DEVICE, Case, decode, encode, generate, nothing

BEYOND = ("0", "-1", "99999999999999999999", "1e5", "nan", "", "x", "1.5", "9" * 5000)
SETTINGS = {
    "no-equals": "training.steps",
    "no-key": "=5",
    "empty-part": "training..steps=5",
    "value-not-section": "seed.a=1",
    "bad-yaml": "seed=[1",
    "tag": "seed=!!int x",
    "seed-2-32": "seed=4294967296",
    "seed-5000-digits": "seed=" + "9" * 5000,
    "infinite": "optimizer.clip=1e999",
    "unknown": "trainig.steps=5",
    "deep": "a" + ".a" * 400 + "=1",
    "5000": "seed=" + "x" * 5000,
}


def cases(seed: int) -> Iterator[Case]:
    """All of them; nothing here is drawn."""
    images = "{base}/pictures"
    for i, value in enumerate(BEYOND):
        for flag in ("--batch-size", "--limit"):
            yield Case(f"encode{flag}-{i}", nothing, encode(images, flag, value), 2)
        if value not in ("0",):
            yield Case(f"workers-{i}", nothing, encode(images, "--num-workers", value), 2)
        yield Case(f"size-{i}", nothing, encode(images, "--size", value), 2)
        yield Case(f"count-{i}", nothing, generate("{base}/gen", "-n", value), 2)
        if value != "0":
            yield Case(f"seed-{i}", nothing, generate("{base}/gen", "--seed", value), 2)
    for value, code in (("7", 1), ("8x9", 1), ("8x", 2), ("x8", 2), ("8x8x8", 2), ("0x8", 2), ("99999", 1)):
        yield Case(
            f"size-{value}", nothing, encode(images, "--size", value), code, ("size", "memory", "option")
        )
    for value in ("meta", "cuda:99", "gpu", "", "cpu:5000", "x" * 5000, "cuda:-1", "fpga", "xla", "vulkan"):
        yield Case(
            f"device-{value[:9]}", nothing, encode(images, "--device", value), 1, ("environment", "option")
        )
    for value in ("fp8", "", "FP32x"):
        yield Case(f"precision-{value}", nothing, encode(images, "--precision", value), 2)
    for value in (
        "2",
        "-1",
        "99999999999999999999",
        "nope",
        "",
        "1-",
        "0-99999999999",
        "x" * 5000,
        "nan",
        "1-0",
    ):
        command = tuple(value if word == "0" else word for word in generate("{base}/gen"))
        yield Case(f"class-{value[:14]}", nothing, command, 1, ("class", "option"))
    for value in ("cfg", "=1", "cfg=nan", "cfg=1e999", "cfg=-1", "top_p=2", "top_p=nan", "top_k=-1", "x=1",
                  "top_k=" + "9" * 30, "temperature=inf", "temperature=-1", "cfg=!!float x", "cfg=[1", "top_k=1.5",
                  "cfg=" + "9" * 5000):  # fmt: skip
        code = 2 if value in ("cfg", "=1") else 1
        command = generate("{base}/gen", "--sampling", value)
        yield Case(f"sampling-{value[:20]}", nothing, command, code, ("option", "config"))
    for name, value in SETTINGS.items():
        yield Case(
            f"set-{name}",
            nothing,
            ("check", "demo", "--set", value, "--json"),
            1,
            ("config", "input-missing"),
        )
    for i, name in enumerate(("a" * 5000, "", "a" * 300, "owner/" + "a" * 300, "../../../etc/passwd", "/dev/null",
                              "/dev/zero", "/proc/self/mem", "hf://", "hf://a/b/c/d", "a@b@c", "a\nb", "-", ".",
                              "~", "owner/na me", "http://127.0.0.1:9/x", "file:///etc/passwd", "s3://b/c")):  # fmt: skip
        command = (
            ("info", name, "--json")
            if name != "-"
            else ("encode", images, "-m", "-", "-o", "out.npy", "--json")
        )
        reasons = ("reference", "input-missing", "wrong-kind", "offline", "format", "input-empty", "option",
                   "missing-extra", "damaged", "ambiguous", "environment", "unavailable", "os")  # fmt: skip
        yield Case(f"model-{i}", nothing, command, 1, reasons)
    for i, name in enumerate(("a" * 5000, "", "gone", "/dev/null", "/proc/self/mem", "demo:0", "demo:-1", "demo:x",
                              "demo:99999999999999999999", "demo:1e3", "*.nothing", "[", "a" * 300, "hf://x",
                              "https://127.0.0.1:9/a.tar", "gone.txt", "gone.tar", "gone.parquet", "gone.npz",
                              "{0..9999999999}.tar", "/etc", "file:///etc/passwd", "pipe:touch x")):  # fmt: skip
        reasons = ("reference", "input-missing", "input-empty", "option", "format", "unavailable", "missing-extra",
                   "offline", "input-mixed", "environment", "protocol", "os")  # fmt: skip
        yield Case(f"images-{i}", nothing, encode(name), 1, (*reasons, "not-a-file", "not-an-image"))
    for name in ("gone.npy", "a" * 5000, "/dev/zero", "/dev/null", "", "/proc/self/mem", "{base}/pictures"):
        reasons = (
            "input-missing",
            "format",
            "damaged",
            "no-info",
            "input-empty",
            "option",
            "wrong-kind",
            "os",
        )
        yield Case(f"tokens-{name[:12].strip('/').replace('/', '-')}", nothing, decode(name), 1, reasons)
    for flag in ("--sttrict", "-Z", "--size=8=8", "--model", "-m", "--json=5", "--limit"):
        yield Case(f"flag{flag}", nothing, ("encode", images, flag), 2)
    yield Case("no-command", nothing, ("frobnicate",), 2)
    yield Case("empty-command", nothing, ("",), 2)
    yield Case("out-is-input", nothing, ("encode", images, "-m", "{base}/tok", "-o", images, *DEVICE, "--json"), 1,
               ("exists", "output"))  # fmt: skip
    yield Case("out-empty", nothing, ("encode", images, "-m", "{base}/tok", "-o", "", *DEVICE, "--json"), 1,
               ("exists", "output", "option"))  # fmt: skip
    yield Case("out-below-a-file", nothing, (*encode(images)[:4], "-o", "{base}/done/x.npy", *DEVICE, "--json"), 1,
               ("exists", "output"))  # fmt: skip
    yield Case("out-name-too-long", nothing, (*encode(images)[:4], "-o", "a" * 300 + ".npy", *DEVICE, "--json"), 1,
               ("output", "os", "option", "input-missing"))  # fmt: skip
    yield Case("out-in-proc", nothing, (*encode(images)[:4], "-o", "/proc/x.npy", *DEVICE, "--json"), 1,
               ("output", "os"))  # fmt: skip
