"""A generator for direct use makes the command's images."""

import numpy as np
import pytest
from PIL import Image

import vqcli
from tests.generators.toys import TOYS, ToyFlow, ToyScales
from tests.models import make_generator, make_model
from vqcli.parts import PARTS


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("generator")
    vq = make_model(place / "vq")
    return make_generator(place / "gpt", vq), make_generator(place / "bare", vq, copied=False), vq


def by_command(out, model, **options):
    options = {"count": 3, "seed": 7, "batch_size": 4, "device": "cpu"} | options
    asked = vqcli.GenerateOptions(["owl", "0"], model=str(model), **options)
    vqcli.generate_images(asked, out)
    vqcli.generate_tokens(asked, out.with_suffix(".npy"))
    return vqcli.read_tokens(out.with_suffix(".npy"))


def test_images_and_tokens_are_the_command_s(folders, tmp_path):
    theirs = by_command(tmp_path / "made", folders[0], sampling={"cfg": 1.5, "top_k": 9})
    generator = vqcli.load(folders[0], "cpu")
    made = generator.generate(["owl", 0], 3, seed=7, batch_size=4, cfg=1.5, top_k=9)
    assert made.names == {3: "owl", 0: "tabby cat"}
    places = list(zip(made.labels.tolist(), made.indices.tolist(), strict=True))
    assert places == [(3, 0), (3, 1), (3, 2), (0, 0), (0, 1), (0, 2)]
    rows = dict(zip(theirs.keys, theirs.ids, strict=True))
    for (label, index), ids, image in zip(places, made.tokens, made.images, strict=True):
        assert np.array_equal(ids, rows[f"{label}/s7/{index:05d}"])
        (file,) = (tmp_path / "made").glob(f"{label}-*-s7-{index:05d}.png")
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(file)))
    assert (made.grid, made.codebook_size, made.fingerprint) == (theirs.grid, 16, theirs.fingerprint)
    assert made.tokens.dtype == theirs.ids.dtype
    again = generator.generate(["owl", 0], 3, seed=7, batch_size=4, cfg=1.5, top_k=9)
    assert np.array_equal(made.array, again.array)


def test_what_it_makes_is_decoded_and_counted(folders):
    made = vqcli.load(folders[0], "cpu").generate(range(4), batch_size=8)
    pictures = vqcli.load(folders[2], "cpu").decode(made, batch_size=8)
    assert np.array_equal(pictures.array, made.array)
    assert vqcli.usage(made).usage.tokens == made.tokens.size == 64
    assert len(made) == 4


def test_its_tokenizer(folders):
    gpt, bare, vq = folders
    with pytest.raises(vqcli.VqcliError, match="comes without its tokenizer"):
        vqcli.load(bare, "cpu").generate(1)
    named = vqcli.load(bare, "cpu", tokenizer=vq).generate(1)
    assert np.array_equal(named.array, vqcli.load(gpt, "cpu").generate("1").array)


def test_what_is_refused(folders):
    generator = vqcli.load(folders[0], "cpu")
    assert (generator.classes[3], generator.spec.codebook_size) == ("owl", 16)
    for wrong in ({"count": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="at least 1"):
            generator.generate(0, **wrong)
    for classes in (None, 1.5, [None], [[0]], []):
        with pytest.raises(ValueError, match=r"a class is a number|no classes"):
            generator.generate(classes)
    assert np.array_equal(generator.generate(np.int64(1)).array, generator.generate(1).array)
    with pytest.raises(vqcli.VqcliError, match="no heat"):
        generator.generate(0, heat=2)
    with pytest.raises(vqcli.VqcliError):
        generator.generate("dog")
    with pytest.raises(vqcli.VqcliError):
        generator.generate(4)


@pytest.mark.parametrize(("name", "kind"), [("toy_flow", ToyFlow), ("toy_scales", ToyScales)])
def test_generators_of_other_makes(name, kind, tmp_path, monkeypatch):
    """One of latents, and one that needs the codes of its tokenizer."""
    monkeypatch.setitem(PARTS["generators"], name, TOYS[name])
    scales = {"name": "multiscale", "scales": [1, 2, 4], "phis": 2}
    vq = make_model(tmp_path / "vq", **({"quantizer": scales} if name == "toy_scales" else {}))
    gpt = make_generator(tmp_path / "gpt", vq, kind=kind)
    options = vqcli.GenerateOptions(["1"], str(gpt), count=2, batch_size=2, device="cpu")
    vqcli.generate_images(options, tmp_path / "made")
    generator = vqcli.load(gpt, "cpu")
    for _ in range(2):
        made = generator.generate(1, 2, batch_size=2)
        files = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "made").glob("*.png"))]
        assert np.array_equal(made.array, np.stack(files))
    if name == "toy_scales":
        assert (made.tokens.shape, made.latents) == ((2, 21), None)
        assert np.array_equal(vqcli.load(vq, "cpu").decode(made, batch_size=2).array, made.array)
    else:
        assert (made.tokens, made.latents.shape) == (None, (2, 4, 4, 4))
        with pytest.raises(ValueError, match="have no tokens"):
            vqcli.usage(made)
