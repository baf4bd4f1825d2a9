"""A tokenizer for direct use: the tokens and images of the commands, and what is refused."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

import vqcli
from tests.models import make_autoencoder, make_model
from vqcli.checkpoint.tokenizer import save_tokenizer
from vqcli.data.tokens.files import open_tokens
from vqcli.pixels import normalize, to_tensor
from vqcli.tokenizers.conv import ConvTokenizer

NETWORK = {"network": "tiny", "multipliers": (1, 1), "attention_levels": ()}
CODEBOOK = {"name": "learned", "size": 300, "width": 4, "init": "normal"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("door") / "model", codes=300)


@pytest.fixture(scope="module")
def tokenizer(model):
    return vqcli.load(model, device="cpu")


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    torch.manual_seed(0)
    quantizer = {"name": "residual", "depth": 2}
    made = ConvTokenizer(ConvTokenizer.Config(**NETWORK, codebook=CODEBOOK, quantizer=quantizer))
    made.image_size = (8, 8)
    folder = tmp_path_factory.mktemp("residual") / "model"
    folder.mkdir()
    save_tokenizer(made, folder)
    return folder


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Files of other sizes, modes and orientations than the model's."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, sides in enumerate([(8, 8), (19, 11), (40, 64), (9, 30)]):
        Image.fromarray(noise(*sides, seed=i)).save(folder / f"{i}.png")
    turned = Image.fromarray(noise(12, 20))
    turned.getexif()[274] = 6
    turned.save(folder / "4.jpg", exif=turned.getexif())
    Image.fromarray(noise(16, 16)[..., :1].repeat(4, 2), "RGBA").save(folder / "5.png")
    Image.fromarray(noise(16, 16)[..., 0].astype(np.uint16) * 200).save(folder / "6.png")
    return folder


def by_command(images, model, out, **options):
    options = {"batch_size": 3, "num_workers": 0, "device": "cpu"} | options
    vqcli.encode_images(vqcli.ImageOptions(str(images), model=str(model), **options), out)
    return vqcli.read_tokens(out)


def paths(folder):
    return sorted(folder.iterdir())


@pytest.mark.parametrize("size", [None, 12, (6, 10)])
def test_tokens_of_files_are_the_command_s(photos, model, tokenizer, tmp_path, size):
    asked = (size, size) if isinstance(size, int) else size
    theirs = by_command(photos, model, tmp_path / "t.npy", size=asked)
    for images in (paths(photos), [str(path) for path in paths(photos)], [*map(Image.open, paths(photos))]):
        ours = tokenizer.encode(images, size=size, batch_size=3)
        assert ours.tokens.dtype == theirs.ids.dtype == np.uint16
        assert np.array_equal(ours.tokens, theirs.ids)
        assert (ours.grid, ours.codebook_size, ours.fingerprint) == (
            theirs.grid,
            theirs.codebook_size,
            theirs.fingerprint,
        )


def test_arrays_and_tensors(model, tokenizer, tmp_path):
    pixels = noise(5, 8, 8)
    np.savez(tmp_path / "images.npz", arr_0=pixels)
    theirs = by_command(tmp_path / "images.npz", model, tmp_path / "t.npy").ids
    floats = normalize(torch.stack([to_tensor(Image.fromarray(each)) for each in pixels]))
    for images in (pixels, list(pixels), floats, [Image.fromarray(each) for each in pixels]):
        assert np.array_equal(tokenizer.encode(images, batch_size=3).tokens, theirs)
    assert np.array_equal(tokenizer.encode(pixels[0]).tokens, tokenizer.encode(pixels[:1]).tokens)
    assert tokenizer.encode(floats[:, :, :6]).grid == ((3, 4),)


def test_native_sizes(photos, model, tokenizer, tmp_path):
    read = by_command(photos, model, tmp_path / "tokens", size="native")
    rows = open_tokens(tmp_path / "tokens").rows()
    for i, (path, row) in enumerate(zip(paths(photos), rows, strict=True)):
        one = tokenizer.encode(path, size="native")
        assert (one.grid, one.tokens.reshape(-1).tolist()) == (row.grid, row.ids.tolist())
        assert (read.grids[i], read[i].tolist()) == (one.grid, one.tokens[0].tolist())
    with pytest.raises(ValueError, match="different grids"):
        tokenizer.encode(paths(photos), size="native")


def test_images_are_the_command_s(photos, model, tokenizer, tmp_path):
    theirs = by_command(photos, model, tmp_path / "t.npy")
    decoding = vqcli.DecodeOptions(str(model), batch_size=3, device="cpu")
    vqcli.decode_tokens(tmp_path / "t.npy", tmp_path / "out", decoding)
    files = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "out").glob("*.png"))]
    encoded = tokenizer.encode(paths(photos))
    flat = theirs.ids.reshape(len(theirs), -1)
    for tokens in (encoded, theirs, theirs.ids, flat, torch.from_numpy(flat.astype(np.int64))):
        pictures = tokenizer.decode(tokens, batch_size=3)
        assert np.array_equal(pictures.array, np.stack(files))
    assert [np.asarray(image).tolist() for image in pictures.images] == [each.tolist() for each in files]


def test_tokens_of_several_entries(residual, tmp_path):
    tokenizer, pixels = vqcli.load(residual, "cpu"), noise(4, 8, 8)
    encoded = tokenizer.encode(pixels)
    assert (encoded.tokens.shape, encoded.grid) == ((4, 32), ((4, 4), (4, 4)))
    again = tokenizer.decode(encoded.tokens)
    assert np.array_equal(again.array, tokenizer.decode(encoded).array)
    wide = tokenizer.encode(pixels, size=(4, 8))
    with pytest.raises(ValueError, match="16 tokens an image: give their grid"):
        tokenizer.decode(wide.tokens)
    assert tokenizer.decode(wide.tokens, grid=wide.grid).array.shape == (4, 4, 8, 3)
    counted = vqcli.usage(encoded).usage
    assert (counted.tokens, len(counted.entries)) == (4 * 32, 2)


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        ([], "there are no images"),
        (3, "images are PIL images, paths"),
        ([3], "images are PIL images, paths"),
        (noise(8, 8).astype(np.float32), "uint8 .H, W, 3., RGB, not float32"),
        (noise(8, 8)[..., 0], r"not uint8 \(8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "float .N, 3, H, W. in"),
        (torch.zeros(3, 8, 8), "float .N, 3, H, W. in"),
        (torch.full((1, 3, 8, 8), 255.0), "values beyond"),
        (torch.full((1, 3, 8, 8), torch.nan), "or NaN"),
        (torch.zeros(1, 3, 7, 8), "multiples of 2"),
    ],
)
def test_what_is_no_image(tokenizer, images, sentence):
    with pytest.raises(ValueError, match=sentence):
        tokenizer.encode(images)


def test_sizes_that_cannot_be(tokenizer, tmp_path):
    pixels = noise(8, 8)
    for size in ("large", (8, 8, 8)):
        with pytest.raises(ValueError, match="size is N"):
            tokenizer.encode(pixels, size=size)
    with pytest.raises(ValueError, match="multiples of 2"):
        tokenizer.encode(pixels, size=7)
    with pytest.raises(ValueError, match="tensors are not resized"):
        tokenizer.encode(torch.zeros(1, 3, 8, 8), size=4)
    with pytest.raises(ValueError, match="encode_images takes those"):
        tokenizer.encode(tmp_path)
    sizeless = vqcli.load(make_model(tmp_path / "sizeless", side=None), "cpu")
    with pytest.raises(ValueError, match="does not tell its image size"):
        sizeless.encode(pixels)


def test_bad_files(tokenizer, tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG")
    for path, reason in ((tmp_path / "cut.png", "not-an-image"), (tmp_path / "away.png", "missing")):
        with pytest.raises(vqcli.BadImage) as bad:
            tokenizer.encode([noise(8, 8), path])
        assert (bad.value.reason, bad.value.key) == (reason, str(path))
    with pytest.raises(vqcli.BadImage, match="aspect-ratio"):
        tokenizer.encode(Image.new("RGB", (400, 2)))


def test_tokens_that_cannot_be(tokenizer, tmp_path):
    other = vqcli.load(make_model(tmp_path / "other", codes=300, seed=1), "cpu").encode(noise(1, 8, 8))
    with pytest.raises(ValueError, match="force=True takes them"):
        tokenizer.decode(other)
    assert tokenizer.decode(other, force=True).array.shape == (1, 8, 8, 3)
    for tokens, sentence in (
        (np.full((1, 4, 4), 300), "0 to 299"),
        (np.full((1, 4, 4), -1), "0 to 299"),
        (np.zeros((1, 4, 4)), "integers"),
        (np.zeros((4,), int), "integers"),
        (np.zeros((1, 15), int), "give their grid"),
        ([[1]], "not list"),
    ):
        with pytest.raises(ValueError, match=sentence):
            tokenizer.decode(tokens)
    with pytest.raises(ValueError, match="have not the grid"):
        tokenizer.decode(np.zeros((1, 4, 4), int), grid=((2, 2),))


def test_a_model_without_a_codebook_has_no_tokens(tmp_path):
    model = vqcli.load(make_autoencoder(tmp_path / "kl"), "cpu")
    pixels = np.zeros((8, 8, 3), np.uint8)
    for asked in (
        lambda: model.encode(pixels),
        lambda: model.encode(torch.zeros(1, 3, 8, 8)),
        lambda: model.decode(np.zeros((1, 4, 4), np.uint8)),
    ):
        with pytest.raises(vqcli.VqcliError, match="makes latents, not tokens"):
            asked()


def test_a_file_opened_by_pillow_stays_open(tokenizer):
    file = io.BytesIO()
    Image.fromarray(noise(8, 8)).save(file, "PNG")
    image = Image.open(file)
    first = tokenizer.encode(image).tokens
    assert np.array_equal(tokenizer.encode(image).tokens, first)


def test_other_precision_and_wrong_options(model):
    assert vqcli.load(model, "cpu", precision="bf16").encode(noise(2, 8, 8)).tokens.shape == (2, 4, 4)
    for wrong in (0, -1, 1.5, "2", None):
        with pytest.raises(ValueError, match="batch_size is at least 1"):
            vqcli.load(model, "cpu").encode(noise(8, 8), batch_size=wrong)
        with pytest.raises(ValueError, match="batch_size is at least 1"):
            vqcli.load(model, "cpu").decode(np.zeros((1, 4, 4), int), batch_size=wrong)
    for size in (0, -8, "8x8", (8, "a"), (8, 8, 8)):
        with pytest.raises(ValueError, match=r"size is N, \(H, W\) or 'native', not"):
            vqcli.load(model, "cpu").encode(noise(8, 8), size=size)
    for grid in (4, (4, 4), ((-4, -4),), (("a", "b"),), (None,)):
        with pytest.raises(ValueError, match="a grid is"):
            vqcli.load(model, "cpu").decode(np.zeros((1, 16), int), grid=grid)
    for nothing in (Image.new("RGB", (0, 0)), torch.zeros(1, 3, 0, 0)):
        with pytest.raises(ValueError, match=r"no pixels|not torch.float32"):
            vqcli.load(model, "cpu").encode(nothing)
    with pytest.raises(ValueError, match=r"integers .* not torch\.bfloat16"):
        vqcli.load(model, "cpu").decode(torch.zeros(1, 4, 4).bfloat16())
    with pytest.raises(ValueError, match="precision is one of fp32, bf16, fp16, not 'fp64'"):
        vqcli.load(model, "cpu", precision="fp64")
    with pytest.raises(ValueError, match="needs no tokenizer"):
        vqcli.load(model, "cpu", tokenizer=model)
    with pytest.raises(vqcli.VqcliError, match="there is no model at"):
        vqcli.load("away/from/here")
