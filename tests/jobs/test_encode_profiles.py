"""--keep-profile reaches the pixels, and what was done stands with the tokens."""

import io
import json
import zlib

from PIL import Image

from tests.jobs.encoded import options
from tests.models import make_model
from vqcli.data.images.open import open_source
from vqcli.jobs.encode import encode
from vqcli.types import Reading


def wide(folder):
    """A PNG whose gAMA says that its numbers are linear light."""
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (64, 64, 64)).save(buffer, "PNG")
    data = buffer.getvalue()
    chunk = b"gAMA" + (100_000).to_bytes(4, "big")
    whole = len(chunk[4:]).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    folder.mkdir()
    (folder / "linear.png").write_bytes(data[:33] + whole + data[33:])
    return folder


def test_colours_become_srgb_s_unless_they_are_to_be_kept(tmp_path):
    folder, model = wide(tmp_path / "in"), make_model(tmp_path / "model")
    grey = [
        open_source(str(folder), Reading(keep_profile=keep))[0].image.getpixel((0, 0))[0]
        for keep in (False, True)
    ]
    assert grey[1] == 64
    assert abs(grey[0] - 137) <= 1  # sRGB of 64/255 in linear light
    for keep, words in ((False, "colours to sRGB, resize"), (True, "resize (bicubic)")):
        out = tmp_path / f"{keep}.npy"
        encode(options(folder, model, keep_profile=keep), out)
        assert json.loads(out.with_suffix(".json").read_text())["preprocessing"].startswith(words)
