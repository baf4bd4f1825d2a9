"""Usage of tokens, of a model on images, and as stored: the numbers, against a slow count."""

import json
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.models import make_model
from tests.seals import put
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.usage import measure_usage
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.geometry import measure_geometry

STORED = {
    "images": "8 images of x", "tokens": 128, "used": 12, "codebook_size": 16, "utilization": 0.75,
    "uniform_expectation": 0.99, "perplexity": 7.5,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", codes=300)


def images(model, source="demo:9", **other):
    return ImageOptions(source, str(model), device="cpu", num_workers=0, batch_size=4, **other)


def check_against_slow_count(usage, ids, size):
    counts = Counter(ids)
    bits = -sum(n / len(ids) * math.log2(n / len(ids)) for n in counts.values())
    assert (usage.codebook_size, usage.tokens, usage.used) == (size, len(ids), len(counts))
    assert usage.utilization == len(counts) / size
    assert usage.perplexity == pytest.approx(2**bits)
    assert usage.uniform_expectation == pytest.approx(1 - (1 - 1 / size) ** len(ids))
    assert sorted(usage.most_used, key=lambda x: -x[1])[0][1] == max(counts.values())


def test_tokens_and_images_count_the_same(tmp_path, model):
    encode(images(model), tmp_path / "t.npy")
    encode(images(model), tmp_path / "t")
    ids = np.load(tmp_path / "t.npy").ravel().tolist()
    afresh = measure_usage(str(model), images(model))
    found = [measure_usage(str(tmp_path / form)) for form in ("t.npy", "t")]
    for result in (afresh, *found):
        check_against_slow_count(result.usage, ids, 300)
        assert result.usage.images == 9
        assert "resize (bicubic) and centre crop to 8x8" in result.measured_on
    assert found[0].usage == found[1].usage == afresh.usage
    assert found[0].geometry is None
    codes_kd = load_tokenizer(model).quantizer.codes().detach().numpy()
    assert afresh.geometry == measure_geometry(codes_kd)


def test_native_sizes_are_counted(tmp_path, model):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for name, size in (("a.png", (8, 8)), ("b.png", (12, 6)), ("c.png", (1, 1))):
        Image.effect_mandelbrot(size, (-2, -1, 1, 1), 9).save(tmp_path / "in" / name)
    options = images(model, str(tmp_path / "in"), size="native")
    encode(options, tmp_path / "t")
    afresh, stored = measure_usage(str(model), options), measure_usage(str(tmp_path / "t"))
    assert afresh.usage == stored.usage
    assert (afresh.usage.images, afresh.usage.tokens) == (2, 16 + 18)
    assert afresh.rejected == [{"key": "c.png", "reason": "too-small", "detail": "1x1 pixels, needs 2x2"}]


def test_entries_of_the_grid_are_told_apart(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[0, 1, 1, 1, 1], [0, 1, 2, 2, 3]], np.uint8))
    (tmp_path / "t.json").write_text('{"grid": [[1, 1], [2, 2]]}')
    usage = measure_usage(str(tmp_path / "t.npy"), codebook_size=4).usage
    assert [(e.tokens, e.used) for e in usage.entries] == [(2, 1), (8, 3)]
    assert (usage.used, usage.utilization) == (4, 1.0)


def test_bare_arrays_need_a_codebook_size(tmp_path):
    np.save(tmp_path / "t.npy", np.full((2, 3, 4), 5))
    with pytest.raises(VqcliError, match="does not say how large its codebook is") as refused:
        measure_usage(str(tmp_path / "t.npy"))
    assert "--codebook-size" in refused.value.hint
    result = measure_usage(str(tmp_path / "t.npy"), codebook_size=8)
    assert (result.utilization, result.usage.most_used) == (1 / 8, ((5, 24),))
    with pytest.raises(VqcliError, match="tokens from 5 to 5 do not fit a codebook of 5 codes"):
        measure_usage(str(tmp_path / "t.npy"), codebook_size=5)


def test_stored_usage(tmp_path, model):
    never = measure_usage(str(model))
    assert (never.utilization, never.usage, never.stored, never.measured_on) == (None, None, None, "")
    told = measure_usage(str(make_model(tmp_path / "told", usage=STORED)))
    assert (told.utilization, told.stored.to_json(), told.usage) == (0.75, STORED, None)
    assert told.geometry.codes == 16
    put(tmp_path / "told" / "usage.json", {"utilization": 1})
    with pytest.raises(VqcliError, match=r"usage\.json does not tell"):
        measure_usage(str(tmp_path / "told"))
    (tmp_path / "told" / "usage.json").unlink()
    (tmp_path / "told" / "codebook.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(VqcliError, match=r"codebook\.safetensors cannot be read"):
        measure_usage(str(tmp_path / "told"))


def test_page_needs_counts(tmp_path, model):
    with pytest.raises(VqcliError, match="a page needs exact counts"):
        measure_usage(str(model), page=tmp_path / "p.html")
    assert not (tmp_path / "p.html").exists()
    measure_usage(str(model), images(model), page=tmp_path / "p.html")
    assert "utilization" in (tmp_path / "p.html").read_text().lower()


def test_nothing_usable(tmp_path, model):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").touch()
    with pytest.raises(VqcliError, match=r"none of the images of .* could be used"):
        measure_usage(str(model), images(model, str(tmp_path / "in")))


def test_tokens_are_counted_without_torch(tmp_path, model):
    encode(images(model), tmp_path / "t")
    code = f"""
import sys
from vqcli.jobs.usage import measure_usage
from pathlib import Path
print(measure_usage({str(tmp_path / "t")!r}, page=Path({str(tmp_path / "p.html")!r})).usage.images)
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "9\n")


def test_counts_are_those_of_the_model(model):
    """The report of a model equals UsageCounts over its own tokens, image by image."""
    from vqcli.data.images.demo import DemoSource
    from vqcli.pixels import to_tensor

    tokenizer, source, counts = load_tokenizer(model), DemoSource(9, (8, 8)), UsageCounts(300)
    for i in range(9):
        with torch.inference_mode():
            image = to_tensor(source[i].image)[None] / 127.5 - 1
            counts.add(tokenizer.encode(image).ids.numpy())
    assert measure_usage(str(model), images(model)).usage == counts.report()


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (torch.zeros(4, 8, dtype=torch.bfloat16), "codes is BF16 of 2 dimensions"),
        (torch.zeros(4, 8, dtype=torch.float8_e4m3fn), "codes is F8_E4M3 of 2 dimensions"),
        (torch.zeros(32), r"no codes \(K, D\), but float32 \(32,\)"),
        (torch.zeros(4, 0), r"no codes \(K, D\), but float32 \(4, 0\)"),
        (torch.zeros(4, 8, dtype=torch.int64), "no codes"),
        (torch.zeros(4, 8, *[1] * 70), "codes is F32 of 72 dimensions"),
    ],
)
def test_a_table_that_is_none(tmp_path, codes, said):
    folder = make_model(tmp_path / "m", usage=STORED)
    write_codes(folder / "codebook.safetensors", codes)
    with pytest.raises(VqcliError, match=said) as caught:
        measure_usage(str(folder))
    assert caught.value.reason == "damaged"


def write_codes(path, codes):
    """A file that the library would refuse to write, too."""
    save_file({"codes": codes.flatten()}, path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    told = json.loads(data[8 : 8 + length])
    told["codes"]["shape"] = list(codes.shape)
    header = json.dumps(told).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
