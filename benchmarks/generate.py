"""Token-by-token generation: this loop, the published loop's structure, and no cache at all; same weights.

    python benchmarks/generate.py            # GPT-B, 8 images with guidance, 256 tokens each
    python benchmarks/generate.py --tokens 64 --batch 1
    python benchmarks/generate.py --var d12 --batch 2   # VAR, without a cache, and a GPT on the same tokens

The published structure: a cache made anew for each call, slots rounded up to a multiple of 8, attention over
all of them under a boolean mask picked by position, with the math kernel and torch's linear maps. The form
without a cache runs every prefix again; it is timed at some lengths and summed up between them.
Weights are random: speed does not depend on them. Best of --repeats, in turns, in one process; measure on an
idle machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vqcli.codebooks.learned import LearnedCodebook
from vqcli.config import PartConfig
from vqcli.generators.base import Generator, image_stream
from vqcli.generators.gpt import Gpt, GptConfig
from vqcli.generators.sampling import SamplingConfig, guide
from vqcli.generators.var import Var, VarConfig, VarSampling
from vqcli.nn.linear import Linear
from vqcli.nn.rotary import rotate
from vqcli.quantizers.multiscale import MultiscaleQuantizer
from vqcli.types import Made, TokenizerSpec

SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16)
SIDE = {64: 8, 144: 12, 256: 16, 576: 24}
"""Sides of the grids that can be timed, by their tokens."""


def make(size: str, tokens: int) -> Gpt:
    """A network of LlamaGen's, with noise for weights."""
    side = SIDE[tokens]
    spec = TokenizerSpec(16_384, 8, 16, (16 * side, 16 * side), "", ((side, side),))
    torch.manual_seed(0)
    generator = Gpt(GptConfig(size=size), spec).eval()
    torch.nn.init.normal_(generator.head.weight, std=0.02)
    return generator


@torch.inference_mode()
def ours(generator: Generator, labels: Tensor, sampling: PartConfig) -> Made:
    """What ``vqcli generate`` does."""
    streams = [image_stream(0, int(label), i) for i, label in enumerate(labels)]
    return generator.sample(labels, streams, sampling)


def plain(generator: Gpt) -> Gpt:
    """The same network, with torch's own linear maps."""
    other = copy.deepcopy(generator)
    for module in other.modules():
        if isinstance(module, Linear):
            module.__class__ = nn.Linear
    return other


def publish_block(
    block: nn.Module, x: Tensor, table: Tensor, cache: tuple[Tensor, Tensor], mask: Tensor, at: Tensor
) -> Tensor:
    """A block with attention as the published loop has it."""
    attention = block.attention
    q, k, v = attention.qkv(block.attention_norm(x)).unflatten(-1, (3, attention.heads, -1)).unbind(2)
    q, k = rotate(q, table), rotate(k, table)
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    for stored, new in zip(cache, (k, v)):
        stored[:, :, at] = new
    y = F.scaled_dot_product_attention(q, *cache, attn_mask=mask)
    h = x + attention.out(y.transpose(1, 2).flatten(2))
    return h + block.ffn(block.ffn_norm(h))


@torch.inference_mode()
def published(generator: Gpt, labels: Tensor, sampling: SamplingConfig) -> Tensor:
    """The structure of the published loop."""
    config, count = generator.config, len(labels)
    rows = torch.cat([labels, torch.full_like(labels, config.classes)])
    slots = -(-(generator.length + 1) // 8) * 8
    shape = (len(rows), config.heads, slots, config.width // config.heads)
    caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in generator.blocks]
    causal = torch.tril(torch.ones(slots, slots, dtype=torch.bool)).repeat(len(rows), 1, 1)
    x, ids = generator.embed_labels(rows), []
    with sdpa_kernel(SDPBackend.MATH):
        for position in range(generator.length):
            at = torch.tensor([position])
            mask, table = causal[:, None, at], generator.table(x.device)[at]
            for block, cache in zip(generator.blocks, caches):
                x = publish_block(block, x, table, cache, mask, at)
            logits = generator.head(generator.norm(x)).float()[:, -1]
            logits = guide(logits[:count], logits[count:], sampling.cfg) / max(sampling.temperature, 1e-5)
            ids.append(torch.multinomial(logits.softmax(-1), 1))
            x = generator.embed_tokens(torch.cat([ids[-1], ids[-1]]), position + 1)
    return torch.cat(ids, dim=1)


@torch.inference_mode()
def uncached(generator: Gpt, labels: Tensor) -> float:
    """Seconds for all tokens when every prefix is run again, from a few prefixes by the trapezoid rule."""
    rows = torch.cat([labels, torch.full_like(labels, generator.config.classes)])
    ids = torch.zeros(len(rows), generator.length, dtype=torch.int64)
    at = [0, *range(generator.length // 8 - 1, generator.length, generator.length // 8)]
    spent = [timed(partial(generator.logits, rows, ids[:, :n]), 1) for n in at]
    seconds = torch.trapezoid(torch.tensor(spent), torch.tensor(at, dtype=torch.float32)).item()
    return seconds + (spent[0] + spent[-1]) / 2


def multiscale(codes: int, width: int, scales: tuple[int, ...]) -> MultiscaleQuantizer:
    """A quantizer of so many codes, with noise for weights."""
    codebook = LearnedCodebook(LearnedCodebook.Config(size=codes, width=width, init="normal"))
    return MultiscaleQuantizer(MultiscaleQuantizer.Config(scales=scales), codebook).eval()


def make_var(size: str) -> tuple[Var, Gpt]:
    """A VAR on the scales of 256x256 images, and a GPT as wide and as deep on the same tokens."""
    torch.manual_seed(0)
    quantizer = multiscale(4096, 32, SCALES)
    grid = tuple((side, side) for side in SCALES)
    spec = TokenizerSpec(4096, 32, 16, (256, 256), "", grid)
    var = Var(VarConfig(size=size), spec).eval()
    var.attach(quantizer)
    torch.nn.init.normal_(var.head.map.weight, std=0.02)
    config = var.config
    gpt = Gpt(GptConfig(layers=config.layers, heads=config.heads, width=config.width), spec).eval()
    torch.nn.init.normal_(gpt.head.weight, std=0.02)
    return var, gpt


@torch.inference_mode()
def uncached_var(var: Var, labels: Tensor, sampling: VarSampling) -> Tensor:
    """Every scale with all coarser ones again, under the block-causal mask; both halves of guidance."""
    rows = torch.cat([labels, torch.full_like(labels, var.config.classes)])
    streams = [image_stream(0, int(label), i) for i, label in enumerate(labels)]
    ids = torch.zeros(len(labels), 0, dtype=torch.int64)
    for step, n in enumerate(var.counts):
        padded = torch.cat([ids, ids.new_zeros(len(ids), n)], dim=1)  # a scale's own tokens are not seen
        if step:
            logits = var.logits(rows, torch.cat([padded, padded]))[:, -n:]
        else:
            logits = var.run(var.first(rows), var.class_embedding(rows))
        ratio = step / (len(var.grid) - 1)
        guided = guide(logits[: len(ids)], logits[len(ids) :], 1 + sampling.cfg * ratio)
        ids = torch.cat([ids, var.choose(guided, streams, sampling, step)[0]], dim=1)
    return ids


def main_var(options: argparse.Namespace) -> None:
    """Measure and print VAR and its rivals, in turns."""
    var, gpt = make_var(options.var)
    labels, sampling = torch.arange(options.batch), VarSampling(cfg=1.5)
    loops = {
        "vqcli, VAR": partial(ours, var, labels, sampling),
        "no cache": partial(uncached_var, var, labels, sampling),
        "GPT, same tokens": partial(ours, gpt, labels, SamplingConfig(cfg=2.0)),
    }
    seconds = dict.fromkeys(loops, float("inf"))
    for _ in range(options.repeats):
        for name, loop in loops.items():
            seconds[name] = min(seconds[name], timed(loop, 1))
    total = options.batch * sum(var.counts)
    rates = {name: total / spent for name, spent in seconds.items()}
    if options.json:
        print(json.dumps({"tokens_per_second": rates, **vars(options)}))
        return
    print(f"VAR-{options.var}, {options.batch} images with guidance, {sum(var.counts)} tokens each, float32")
    tell(rates, seconds, "vqcli, VAR")


def tell(rates: dict[str, float], seconds: dict[str, float], first: str) -> None:
    """A line each."""
    for name, rate in rates.items():
        print(f"{name:20} {rate:8.1f} tokens/s  {seconds[name]:8.1f} s  vqcli is {rates[first] / rate:5.2f}x")


def timed(run: Callable[[], object], repeats: int) -> float:
    """Seconds, best of so many."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="B", choices=list(GptConfig.SIZES))
    parser.add_argument("--var", choices=list(VarConfig.SIZES), help="time a VAR of this size instead")
    parser.add_argument("--tokens", type=int, default=256, choices=list(SIDE))
    parser.add_argument("--batch", type=int, default=8, help="images at a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.var:
        main_var(options)
        return
    generator, sampling = make(options.size, options.tokens), SamplingConfig(cfg=2.0)
    labels = torch.arange(options.batch)
    total = options.batch * options.tokens
    # in turns, so that what else the machine does slows both
    loops = {"vqcli": ours, "published structure": published}
    networks = {"vqcli": generator, "published structure": plain(generator)}
    seconds = dict.fromkeys(loops, float("inf"))
    for _ in range(options.repeats):
        for name, loop in loops.items():
            spent = timed(partial(loop, networks[name], labels, sampling), 1)
            seconds[name] = min(seconds[name], spent)
    seconds["no cache"] = uncached(networks["published structure"], labels)
    rates = {name: total / spent for name, spent in seconds.items()}
    if options.json:
        print(json.dumps({"tokens_per_second": rates, **vars(options)}))
        return
    print(f"GPT-{options.size}, {options.batch} images with guidance, {options.tokens} tokens each, float32")
    tell(rates, seconds, "vqcli")


if __name__ == "__main__":
    main()
