"""Numbers of the official modules for weights made by a formula: published files give the same tokens here.

The formula's seed is the official name of a tensor: the tables below map our names to LlamaGen's and FVQ's.
"""

import re
import zlib

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vqcli.codebooks.bridged import BridgedCodebook
from vqcli.codebooks.learned import LearnedCodebook
from vqcli.nn.bridge import ModulatedBridge
from vqcli.quantizers.index_propagation import IndexPropagationQuantizer
from vqcli.quantizers.multiscale import MultiscaleQuantizer
from vqcli.quantizers.nearest import NearestQuantizer
from vqcli.tokenizers.conv import ConvTokenizer

NETWORK = [
    (r"^(encoder|decoder)\.stem\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.norm\.", r"\1.norm_out."),
    (r"^(encoder|decoder)\.head\.", r"\1.conv_out."),
    (r"^(encoder|decoder)\.levels\.", r"\1.conv_blocks."),
    (r"^(encoder\..*)\.resize\.", r"\1.downsample.conv."),
    (r"^(decoder\..*)\.resize\.", r"\1.upsample.conv."),
    (r"\.skip\.", ".nin_shortcut."),
    (r"\.out\.", ".proj_out."),
    (r"^quantizer\.codebook\.weight$", "quantize.embedding.weight"),
]
BRIDGE = [
    (r"^base$", "embedding.weight"),
    (r"^bridge\.", "qbridge."),
    (r"\.compress\.", ".x_embedder.proj."),
    (r"\.recover\.", ".final_layer.linear."),
    (r"qbridge\.modulation\.linear\.|qbridge\.modulation\.", "qbridge.final_layer.adaLN_modulation.1."),
    (r"(blocks\.\d)\.modulation\.", r"\1.adaLN_modulation.1."),
    (r"\.condition$", ".y_embedder.embedding_table.weight"),
    (r"\.qkv\.", ".attn.qkv."),
    (r"\.out\.", ".attn.proj."),
    (r"\.(fc[12])\.", r".mlp.\1."),
]


def official(name: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """Hashed integers in [-1, 1), scaled as a layer of this kind would be."""
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        x = np.arange(n, dtype=np.uint32) * np.uint32(1664525)
        x += np.uint32(1013904223) + np.uint32(zlib.crc32(name.encode()))
        x ^= x >> np.uint32(16)
        x *= np.uint32(2246822519)
        x ^= x >> np.uint32(13)
    u = x.astype(np.float64) / 2**32 * 2 - 1
    if len(shape) == 1:
        values = 1 + 0.1 * u if name.endswith("weight") else 0.02 * u
    else:
        values = u if "embedding" in name else u * np.sqrt(3 / (n / shape[0]))
    return torch.from_numpy(values.reshape(shape)).float()


def fill(module: nn.Module, rules: list[tuple[str, str]], levels: int = 0) -> None:
    """Load the formula's values; LlamaGen stores the ``levels`` of its decoder lowest resolution first."""
    state = {}
    for name, parameter in module.named_parameters():
        shape, key = tuple(parameter.shape), official(name, rules)
        key = re.sub(r"^(decoder\.conv_blocks\.)(\d+)", lambda m: f"{m[1]}{levels - 1 - int(m[2])}", key)
        if ".qkv." in name and name.startswith(("encoder.", "decoder.")):
            third = (shape[0] // 3, *shape[1:])
            state[name] = torch.cat([formula(key.replace(".qkv.", f".{part}."), third) for part in "qkv"])
        elif name.endswith("condition"):
            state[name] = formula(key, (1, *shape))[0]
        else:
            state[name] = formula(key, shape)
    module.load_state_dict(state, assign=True)


def tokenizer(network: str, metric: str) -> ConvTokenizer:
    book = {"name": "learned", "size": 256, "width": 8}
    config = ConvTokenizer.Config(
        network=network, codebook=book, quantizer={"name": "nearest", "metric": metric}
    )
    with torch.device("meta"):
        model = ConvTokenizer(config)
    fill(model, NETWORK, len(config.multipliers))
    return model.eval()


def picture() -> Tensor:
    c, i, j = torch.meshgrid(torch.arange(3.0), torch.arange(64.0), torch.arange(64.0), indexing="ij")
    return torch.sin(0.11 * i + 0.07 * j + 1.3 * c)[None]


def waves() -> Tensor:
    i, j, c = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), torch.arange(8.0), indexing="ij")
    return (2 * torch.sin(0.9 * i + 0.4 * j + 0.8 * c)).permute(2, 0, 1)[None]


def assert_near(actual: Tensor, want: list[float]) -> None:
    torch.testing.assert_close(actual.detach(), torch.tensor(want), rtol=0, atol=2e-4)


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


@torch.inference_mode()
def test_llamagen_vq16() -> None:
    model, images = tokenizer("vq-16", "cosine"), picture()
    h = model.latents(images)[0]
    assert_near(
        h[:, 0, 0], [1.060135, -0.23546, -0.355412, -0.164355, -0.202837, -0.517089, -0.133871, -0.466347]
    )
    assert_near(
        h[:, 3, 3], [-0.549066, 0.206952, 0.857492, 0.21205, -0.169544, 0.239096, 0.163329, -0.287123]
    )
    tokens = model.encode(images)
    assert tokens.ids[0].tolist() == numbers("177 102 85 49 93 110 74 54 74 74 54 97 116 9 100 187")
    image = model.decode(tokens)[0]
    assert_near(image[:, 0, 0], [-0.004168, -0.00653, 0.033162])
    assert_near(image[:, 31, 17], [-1.754402, 1.51585, -0.459065])
    assert_near(torch.stack([image.mean(), image.std(unbiased=False)]), [0.097711, 0.72201])

    model.quantizer.config = model.quantizer.config.model_copy(update={"metric": "l2"})
    tokens = model.encode(images)
    assert tokens.ids[0].tolist() == numbers("177 238 4 179 93 110 74 54 109 74 54 97 116 77 143 187")
    image = model.decode(tokens)[0]
    assert_near(image[:, 31, 17], [-1.865969, 2.110297, -0.685796])
    assert_near(torch.stack([image.mean(), image.std(unbiased=False)]), [0.007826, 0.823445])


@torch.inference_mode()
def test_llamagen_vq8() -> None:
    model, images = tokenizer("vq-8", "cosine"), picture()
    h = model.latents(images)[0]
    assert_near(h[:, 0, 0], [0.387781, -0.08366, -0.278228, 0.19817, -0.272056, 0.39821, 0.022022, -0.090945])
    tokens = model.encode(images)
    want = numbers("102 105 117 138 102 181 116 31 102 200 138 181 181 181 124 97")
    assert tokens.ids[0, :16].tolist() == want
    assert tokens.ids.sum() == 8353
    image = model.decode(tokens)[0]
    assert_near(image[:, 31, 17], [0.220668, 0.429692, -1.077067])
    assert_near(torch.stack([image.mean(), image.std(unbiased=False)]), [-0.242949, 0.427065])


ROWS = {
    "plain": {
        0: [0.231713, 1.365161, 1.879035, 0.0282, 0.604162, -0.857834, -0.50316, -0.812833],
        1: [0.379394, 0.082364, -1.613431, -0.990596, 0.361163, 0.445155, 1.347608, -0.059323],
        8: [-2.212297, -2.306665, -0.520158, -0.23639, -0.193449, 1.476011, 0.067218, 0.062838],
        9: [1.225073, 0.370849, -0.277042, 2.102483, -1.195347, -0.88852, 0.630062, 1.124665],
        63: [-0.1747, 0.279841, 0.536915, 1.458406, -0.809317, -1.465242, -0.572648, -1.01755],
    },
    "modulated": {
        0: [1.293124, 0.981731, 0.837622, 0.05857, 0.343583, -1.185516, 1.429304, -0.788991],
        1: [-0.367559, 1.812812, -2.444358, -0.85727, 0.273382, -0.151062, 1.693886, -1.668411],
        8: [-0.270913, -0.405474, -0.402585, 0.468727, 0.99044, 0.286178, -0.48182, 1.091534],
        63: [-0.023769, -0.197707, -0.074715, 0.304583, 0.997742, 1.040884, 1.874399, 0.205931],
    },
}
IDS = {
    "plain": "0 59 59 59 59 31 31 1 31 1 1 1 1 1 4 8",
    "modulated": "52 6 6 6 6 32 32 32 32 32 61 61 61 61 25 57",
}


@pytest.mark.parametrize("blocks", ["plain", "modulated"])
def test_fvq_bridge(blocks: str) -> None:
    book = BridgedCodebook(BridgedCodebook.Config(size=64, width=8, bridge="S/2", blocks=blocks))
    assert isinstance(book.bridge, ModulatedBridge) == (blocks == "modulated")
    fill(book, BRIDGE)
    for row, want in ROWS[blocks].items():
        assert_near(book.codes()[row], want)
    tokens = NearestQuantizer(NearestQuantizer.Config(), book).tokenize(waves())
    assert tokens.ids[0].tolist() == numbers(IDS[blocks])


def test_var_quantizer() -> None:
    book = LearnedCodebook.from_codes(formula("embedding.weight", (64, 8)))
    quantizer = MultiscaleQuantizer(MultiscaleQuantizer.Config(scales=(1, 2, 3, 4), phis=4), book)
    for name, parameter in quantizer.phi.named_parameters():
        parameter.data = formula(f"quant_resi.qresi_ls.{name}", tuple(parameter.shape))
    tokens = quantizer.tokenize(waves())
    want = "41 43 43 60 20 43 43 43 43 13 60 41 20 20 59 38 38 26 43 43 43 41 43 0 60 53 20 27 62 62"
    assert tokens.ids[0].tolist() == numbers(want)
    f_hat = quantizer.lookup(tokens)[0]
    assert_near(
        f_hat[:, 0, 0], [0.885715, 0.213378, 1.014366, -0.609094, -1.648383, -1.692839, -1.472088, 0.625036]
    )
    assert_near(
        f_hat[:, 3, 2], [0.002393, -2.000406, -0.444649, -0.225781, 0.081874, 1.123539, 1.856228, 0.235148]
    )


def test_ibq_quantizer() -> None:
    book = LearnedCodebook.from_codes(formula("embedding.weight", (64, 8)))
    quantizer = IndexPropagationQuantizer(IndexPropagationQuantizer.Config(entropy_weight=1.0), book)
    out = quantizer.train()(waves())
    assert out.tokens.ids[0].tolist() == numbers("59 43 43 43 43 43 13 41 13 41 20 20 20 20 20 62")
    assert torch.equal(quantizer.tokenize(waves()).ids, out.tokens.ids)
    losses = {name: loss.item() for name, loss in out.losses.items()}
    assert losses.pop("entropy") == pytest.approx(-1.59361, abs=1e-5)
    assert sum(losses.values()) == pytest.approx(2.064824, abs=1e-5)
