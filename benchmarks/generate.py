"""Token-by-token generation: this loop, the published loop's structure, and no cache at all; same weights.

    python benchmarks/generate.py            # GPT-B, 8 images with guidance, 256 tokens each
    python benchmarks/generate.py --tokens 64 --batch 1

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

from vqcli.generators.base import image_stream
from vqcli.generators.gpt import Gpt, GptConfig
from vqcli.generators.sampling import SamplingConfig, guide
from vqcli.nn.linear import Linear
from vqcli.nn.rotary import rotate
from vqcli.types import TokenizerSpec

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
def ours(generator: Gpt, labels: Tensor, sampling: SamplingConfig) -> Tensor:
    """What ``vqcli generate`` does."""
    streams = [image_stream(0, int(label), i) for i, label in enumerate(labels)]
    return generator.sample(labels, streams, sampling).ids


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
    parser.add_argument("--tokens", type=int, default=256, choices=list(SIDE))
    parser.add_argument("--batch", type=int, default=8, help="images at a time")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
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
    for name, rate in rates.items():
        print(
            f"{name:20} {rate:8.1f} tokens/s  {seconds[name]:8.1f} s  vqcli is {rates['vqcli'] / rate:5.2f}x"
        )


if __name__ == "__main__":
    main()
