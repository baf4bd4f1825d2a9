"""Published layouts of generators, at sizes that were never published: the same tensors, the same logits."""

from pathlib import Path

import pytest
import torch

from tests.importers.foreign_generators import (
    LC,
    MAKERS,
    SCALES,
    gpt,
    gpt_lc,
    gpt_state,
    lc_state,
    spec,
    var,
    var_state,
    whole_lc_state,
    with_buffers,
    without_buffers,
)
from vqcli.checkpoint.tokenizer import fingerprint
from vqcli.codebooks.learned import LearnedCodebook
from vqcli.errors import VqcliError
from vqcli.generators.gpt import GptConfig
from vqcli.generators.var import VarConfig
from vqcli.importers.generator import GeneratorImporter
from vqcli.importers.gpt_lc import GptLcImporter
from vqcli.importers.llamagen_gpt import LlamaGenGptImporter
from vqcli.importers.options import ImportOptions
from vqcli.importers.var_generator import PUBLISHED, VarGeneratorImporter, find_scales
from vqcli.library.import_generator import from_file
from vqcli.parts import PARTS
from vqcli.quantizers.multiscale import MultiscaleQuantizer
from vqcli.registry import resolve
from vqcli.types import TokenizerSpec, grid_length

IMPORTERS = {name: resolve("importers", name)() for name in PARTS["importers"]}
CASES = {
    "gpt": ("llamagen_gpt", gpt, gpt_state, {"size": (64, 64)}),
    "gpt, with buffers": ("llamagen_gpt", gpt, lambda m: with_buffers(gpt_state(m)), {"size": (64, 64)}),
    "gpt, heads told": ("llamagen_gpt", lambda: gpt(heads=8), gpt_state, {"size": (64, 64), "heads": 8}),
    "gpt, narrower": ("llamagen_gpt", lambda: gpt(ffn_multiple=8), gpt_state, {"size": (64, 64)}),
    "gpt-lc": ("gpt_lc", gpt_lc, lc_state, {"classes": 5}),
    "gpt-lc, whole": ("gpt_lc", gpt_lc, whole_lc_state, {}),
    "gpt-lc, heads told": ("gpt_lc", lambda: gpt_lc(heads=4), whole_lc_state, {"heads": 4}),
    "var": ("var_generator", var, var_state, {}),
    "var, shared": ("var_generator", lambda: var(adaln="shared", heads=4), var_state, {}),
    "var, plain": ("var_generator", lambda: var(attention="plain"), var_state, {}),
    "var, plain, heads told": (
        "var_generator",
        lambda: var(attention="plain", heads=8),
        lambda m: without_buffers(var_state(m)),
        {"heads": 8, "scales": SCALES},
    ),
}


def run(importer, state, **options):
    return from_file(IMPORTERS[importer], state, ImportOptions(**options), Path())


def test_every_importer_has_a_case():
    generators = {name for name, found in IMPORTERS.items() if isinstance(found, GeneratorImporter)}
    assert {case[0] for case in CASES.values()} == generators == set(MAKERS)


@pytest.mark.parametrize("name", CASES)
@torch.inference_mode()
def test_tensors_and_logits(name):
    importer, make, write, options = CASES[name]
    model = make()
    state = write(model)
    assert [known for known, found in IMPORTERS.items() if found.matches(state)] == [importer]
    converted = run(importer, dict(reversed(state.items())), **options)
    found, want = converted.generator, model.state_dict()
    assert found.state_dict().keys() == want.keys()
    assert all(torch.equal(found.state_dict()[name], x) for name, x in want.items())
    assert found.grid == model.grid
    assert torch.equal(logits(found), logits(model))
    for field in ("classes", "layers", "heads", "width"):
        assert getattr(found.config, field) == getattr(model.config, field)
    assert not found.training
    told = "heads" in options or getattr(found.config, "attention", "") == "cosine"
    assert converted.assumed == ([] if told else ["heads"])


def logits(generator):
    """Of two images, teacher-forced."""
    labels, length = torch.tensor([0, 4]), grid_length(generator.grid)
    if generator.NEEDS:
        torch.manual_seed(1)
        config = MultiscaleQuantizer.Config(scales=[h for h, _ in generator.grid], phis=2)
        generator.attach(
            MultiscaleQuantizer(config, LearnedCodebook(LearnedCodebook.Config(size=48, width=4)))
        )
    else:
        length = 7
    return generator.logits(labels, torch.arange(2 * length).view(2, length) % 20)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_are_float32_here(dtype):
    state = {key: x.to(dtype) for key, x in gpt_state(gpt()).items()}
    found = run("llamagen_gpt", state).generator.state_dict()
    assert {x.dtype for x in found.values()} == {torch.float32}
    assert torch.equal(found["head.weight"], state["output.weight"].float())


def test_the_tokenizer_in_the_file():
    state = whole_lc_state(gpt_lc())
    state |= {"vqgan.discriminator.main.0.weight": torch.ones(3), "vqgan.perceptual_loss.lin0": torch.ones(2)}
    found = run("gpt_lc", state)
    assert found.own.fingerprint == fingerprint(LC.model()) == found.generator.spec.fingerprint
    assert found.own.image_size == found.generator.spec.image_size == (32, 32)
    assert found.generator.spec.codebook_size == 20
    del state["vqgan.quant_conv.weight"]
    refused("gpt_lc", state, "its tokenizer: it lacks 'quant_conv.weight'")
    refused("gpt_lc", state, "its tokenizer lies in the file", tokenizer="any")
    refused(
        "gpt_lc", whole_lc_state(gpt_lc()), "it makes tokens of 19 codes, its tokenizer has 20", classes=6
    )


def test_classes_of_a_vocabulary():
    state = lc_state(gpt_lc(codes=30, classes=1000))
    found = run("gpt_lc", state)
    assert (found.generator.config.classes, found.generator.spec.codebook_size) == (1000, 30)
    assert found.assumed == ["heads", "classes"]
    found = run("gpt_lc", state, classes=1010, heads=2)
    assert (found.generator.config.classes, found.generator.spec.codebook_size) == (1010, 20)
    assert found.assumed == []
    refused("gpt_lc", lc_state(gpt_lc(classes=5)), "vocabulary of 25 .* no room for 1,000 classes")
    refused("llamagen_gpt", gpt_state(gpt()), "leaves no --classes open", classes=3)


def refused(importer, state, said, **options):
    with pytest.raises(VqcliError, match=said) as error:
        run(importer, state, **options)
    assert error.value.hint
    return error.value


def test_heads_as_published():
    sizes = GptConfig.SIZES.values()
    assert {(size["layers"], size["width"]): size["heads"] for size in sizes} == LlamaGenGptImporter.HEADS
    narrow = gpt_state(gpt(width=96))
    assert refused("llamagen_gpt", narrow, "how many heads share its width of 96").hint == "give --heads"
    assert run("llamagen_gpt", narrow, heads=2).generator.config.heads == 2
    refused("llamagen_gpt", narrow, "width must be a multiple of 4 x heads", heads=5)


def shapes(size):
    """Weights of a published GPT in our names, without numbers."""
    config = GptConfig(size=size)
    with torch.device("meta"):
        return resolve("generators", "gpt")(config, spec(16_384, 16)).state_dict()


@pytest.mark.parametrize(
    ("size", "small", "large"),
    [("B", 2.0, 2.0), ("L", 1.75, 2.0), ("XL", 1.75, 1.75), ("XXL", 1.75, 1.75), ("3B", 1.65, 1.65)],
)
def test_published_sizes(size, small, large):
    weights = shapes(size)
    for grid, cfg in ((32, small), (48, large)):  # 256 and 384 pixels
        config = LlamaGenGptImporter().convert(weights, ImportOptions(), spec(16_384, grid))
        assert GptConfig(**config) == GptConfig(size=size, sampling={"cfg": cfg})


def test_published_gpt_lc():
    config = resolve("generators", "gpt_lc").Config()
    with torch.device("meta"):
        weights = resolve("generators", "gpt_lc")(config, spec(100_000, 16)).state_dict()
    importer = GptLcImporter()
    assert importer.codes(weights, ImportOptions(), None) == 100_000
    assert importer.length(weights) == 256
    found = importer.convert(weights, ImportOptions(), spec(100_000, 16))
    assert type(config)(**found) == config


@pytest.mark.parametrize("importer", MAKERS)
def test_every_key_counts(importer):
    """Without it, or in another shape: refused by its published name."""
    make, write = MAKERS[importer]
    state = write(make())
    options = {"heads": 2} | ({"classes": 5} if importer == "gpt_lc" else {})
    if importer == "var_generator":
        state, options = without_buffers(state), options | {"scales": SCALES}
    for key in state:
        rest = {other: x for other, x in state.items() if other != key}
        refused(importer, rest, f"'{key}'", **options)
        refused(importer, state | {key: torch.ones(*state[key].shape, 2)}, f"'{key}'", **options)


@pytest.mark.parametrize(
    ("importer", "key"),
    [
        ("llamagen_gpt", "layers.0.attention.wqkv.bias"),
        ("llamagen_gpt", "output.bias"),
        ("llamagen_gpt", "layers.0.feed_forward.w4.weight"),
        ("llamagen_gpt", "stray"),
        ("llamagen_gpt", "layers.kv_cache.k_cache"),
        ("gpt_lc", "transformer.blocks.1.attn.extra"),
        ("gpt_lc", "transformer.stray"),
        ("gpt_lc", "discriminator.x"),
        ("var_generator", "blocks.1.attn.proj.extra"),
        ("var_generator", "head_nm.linear.weight"),
    ],
)
def test_unknown_keys(importer, key):
    make, write = MAKERS[importer]
    options = {"classes": 5} if importer == "gpt_lc" else {}
    refused(importer, write(make()) | {key: torch.ones(2)}, f"'{key}'", **options)


@pytest.mark.parametrize("key", ["cls_embedding.cap_proj.fc1.weight", "cls_embedding.uncond_embedding"])
def test_models_of_texts(key):
    state = {k: x for k, x in gpt_state(gpt()).items() if not k.startswith("cls_embedding.")}
    assert IMPORTERS["llamagen_gpt"].matches(state | {key: torch.ones(2)})
    error = refused("llamagen_gpt", state | {key: torch.ones(2)}, "it makes images of texts")
    assert "c2i" in error.hint


def test_taming_transformers_own_are_others():
    state = lc_state(gpt_lc()) | {"first_stage_model.encoder.conv_in.weight": torch.ones(2)}
    assert not any(found.matches(state) for found in IMPORTERS.values())


@pytest.mark.parametrize(
    ("importer", "options", "said"),
    [
        ("llamagen_gpt", {"size": (100, 64)}, "must be multiples of 16"),
        ("gpt_lc", {"classes": 5, "size": (32, 64)}, "makes 16 tokens an image, 32x64 pixels are 8"),
        ("llamagen_gpt", {"metric": "l2"}, "leaves no --metric open"),
        ("llamagen_gpt", {"scales": (1, 2)}, "leaves no --scales open"),
    ],
)
def test_options_that_do_not_fit(importer, options, said):
    make, write = MAKERS[importer]
    refused(importer, write(make()), said, **options)


def test_sizes_of_images():
    state = gpt_state(gpt())
    for size, grid, assumed in (
        (None, (16, 16), ["size"]),
        ((384, 384), (24, 24), []),
        ((32, 64), (2, 4), []),
    ):
        found = run("llamagen_gpt", state, size=size, heads=2)
        assert (found.generator.grid, found.assumed) == ((grid,), assumed)
    found = run("gpt_lc", lc_state(gpt_lc()), classes=5)
    assert found.generator.spec.image_size == (64, 64)
    wide = lc_state(gpt_lc())
    wide["transformer.pos_emb"] = torch.ones(1, 9, 128)
    refused("gpt_lc", wide, "makes 8 tokens an image, 32x32 pixels are 4", classes=5)
    assert run("gpt_lc", wide, classes=5, size=(32, 64)).generator.grid == ((2, 4),)


def test_scales_of_var():
    state = var_state(var())
    assert run("var_generator", state).generator.spec.image_size == (64, 64)
    bare = without_buffers(state)
    refused("var_generator", bare, "nothing tells how its 21 tokens make 3 scales")
    assert run("var_generator", bare, scales=SCALES).generator.grid == ((1, 1), (2, 2), (4, 4))
    refused("var_generator", bare, "nothing tells", scales=(1, 2, 3))
    refused("var_generator", state, "its scales are 1 2 4", scales=(1, 2, 3))
    refused("var_generator", state, "its last scale is 4x4 tokens, not 8x8", size=(128, 128))
    refused("var_generator", state, "it has 2 heads", heads=4)


@pytest.mark.parametrize("scales", PUBLISHED)
def test_published_scales_of_var(scales):
    length = sum(side * side for side in scales)
    assert find_scales(None, length, len(scales), None) == scales


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lvl_1L", torch.zeros(1, 21, dtype=torch.int64)),
        ("lvl_1L", torch.arange(21)[None]),
        ("lvl_1L", 2 - torch.arange(3).repeat_interleave(torch.tensor([16, 4, 1]))[None]),
        ("attn_bias_for_masking", torch.zeros(1, 1, 21, 21)),
        ("attn_bias_for_masking", torch.zeros(1, 1, 20, 20)),
        ("blocks.1.attn.zero_k_bias", torch.ones(128)),
        ("blocks.0.attn.zero_k_bias", torch.full((128,), torch.nan)),
    ],
)
def test_buffers_of_var_are_checked(key, value):
    state = var_state(var())
    assert key in state
    refused("var_generator", state | {key: value}, key)


@pytest.mark.parametrize("size", ["d16", "d20", "d24", "d30", "d36-s"])
def test_published_sizes_of_var(size):
    config, importer = VarConfig(size=size), VarGeneratorImporter()
    scales = PUBLISHED[1 if size == "d36-s" else 0]
    tokenizer = TokenizerSpec(4096, 32, 16, (256, 256), "", tuple((side, side) for side in scales))
    with torch.device("meta"):
        model = resolve("generators", "var")(config, tokenizer)
    found = VarConfig(**importer.convert(model.state_dict(), ImportOptions(), tokenizer))
    assert found == config.model_copy(update={"sampling": found.sampling, "gate_start": found.gate_start})
    parameters = {
        "d16": 310_283_520,
        "d20": 600_917_136,
        "d24": 1_033_399_360,
        "d30": 2_010_020_356,
        "d36-s": 2_353_893_904,
    }
    assert sum(p.numel() for p in model.parameters()) == parameters[size]
