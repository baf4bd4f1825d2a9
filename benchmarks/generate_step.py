"""One step of token-by-token generation against its peers, with the same weights: GPT-B by default.

    python benchmarks/generate_step.py                     # 16 rows: 8 images with guidance
    python benchmarks/generate_step.py --rows 2 4 8 16 32 --positions 128

Rivals: the published loop (slots rounded up to a multiple of 8, all of them attended to under a mask, torch's
linear maps), transformers' LlamaForCausalLM with its static cache where it is installed, this network with
torch's linear maps, and torch's linear maps alone: what a step cannot be much faster than. Half of the rows
guide the other half, for which a token each is drawn. Weights are random: speed does not depend on them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from generate import SIDE, make, plain, publish_block
from side_by_side import against, neighbour, parser, race, report
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from vqcli.generators.gpt import Gpt, GptConfig
from vqcli.generators.sampling import SamplingConfig, draw, guide

Step = Callable[[], object]
SAMPLING = SamplingConfig(cfg=2.0)


def main() -> None:
    """Measure all numbers of rows at all positions."""
    made = parser(__doc__)
    made.add_argument("--size", default="B", choices=list(GptConfig.SIZES))
    made.add_argument("--tokens", type=int, default=256, choices=list(SIDE))
    made.add_argument("--rows", type=int, nargs="+", default=[16])
    made.add_argument("--positions", type=int, nargs="+", default=[0, 128, 255])
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    generator = make(options.size, options.tokens)
    simple, llama = plain(generator), _llama(generator)
    rows = []
    with neighbour(options.busy), torch.inference_mode():
        for count, position in product(options.rows, options.positions):
            steps = {
                "vqcli": ours(generator, count, position),
                "published loop": published(simple, count, position),
                "torch's linear maps in it": ours(simple, count, position),
                "torch's linear maps alone": maps_alone(simple, count),
            }
            if llama is not None:
                steps["transformers, static cache"] = transformers(llama, count, position)
            what = f"GPT-{options.size}, {count} rows, position {position}"
            rows.append({"what": what, "rivals": against(race(steps, options.repeats))})
    report(options, rows)


def ours(generator: Gpt, rows: int, position: int) -> Step:
    """A step as ``vqcli generate`` makes it."""
    cache, ids, uniforms = (
        generator.cache(rows),
        torch.zeros(rows, 1, dtype=torch.int64),
        torch.rand(rows // 2),
    )
    for keys, values in cache.layers:
        keys.normal_(), values.normal_()

    def step() -> Tensor:
        x = generator.embed_tokens(ids, max(1, position))
        return draw(guided(generator.run(x, position, cache)), uniforms, SAMPLING)

    return step


def published(generator: Gpt, rows: int, position: int) -> Step:
    """A step of the published loop."""
    config, slots = generator.config, -(-(generator.length + 1) // 8) * 8
    shape = (rows, config.heads, slots, config.width // config.heads)
    caches = [(torch.randn(shape), torch.randn(shape)) for _ in generator.blocks]
    causal = torch.tril(torch.ones(slots, slots, dtype=torch.bool)).repeat(rows, 1, 1)
    ids, at = torch.zeros(rows, 1, dtype=torch.int64), torch.tensor([position])

    def step() -> Tensor:
        x = generator.embed_tokens(ids, max(1, position))
        mask, table = causal[:, None, at], generator.table(x.device)[at]
        with sdpa_kernel(SDPBackend.MATH):
            for block, cache in zip(generator.blocks, caches):
                x = publish_block(block, x, table, cache, mask, at)
        return torch.multinomial(guided(generator.head(generator.norm(x))).softmax(-1), 1)

    return step


def guided(logits: Tensor) -> Tensor:
    """Logits of the first half of the rows, guided by the second."""
    conditional, unconditional = logits[:, -1].float().chunk(2)
    return guide(conditional, unconditional, SAMPLING.cfg)


def maps_alone(generator: Gpt, rows: int) -> Step:
    """Every linear map of the network, on rows of its width."""
    maps = [one for one in generator.modules() if isinstance(one, nn.Linear)]
    inputs = {one.in_features: torch.randn(rows, 1, one.in_features) for one in maps}
    return lambda: [one(inputs[one.in_features]) for one in maps]


def transformers(llama: Any, rows: int, position: int) -> Step:
    """A step of transformers' own forward, with as many slots as the network has positions."""
    from transformers import StaticCache

    slots = llama.config.max_position_embeddings
    cache = StaticCache(config=llama.config, max_cache_len=slots)
    ids = torch.zeros(rows, 1, dtype=torch.int64)
    llama(ids.expand(rows, max(1, position)), past_key_values=cache, use_cache=True)
    places = torch.full((rows, 1), position)

    def step() -> Tensor:
        for layer in cache.layers:  # each step takes the same place
            layer.cumulative_length.fill_(position)
        found = llama(ids, past_key_values=cache, use_cache=True, position_ids=places)
        return torch.multinomial(guided(found.logits).softmax(-1), 1)

    return step


def _llama(generator: Gpt) -> Any:
    """A network of the same shape, or None where transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import LlamaConfig, LlamaForCausalLM

    config = generator.config
    shape = LlamaConfig(
        vocab_size=16_384,
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        max_position_embeddings=generator.length + 8,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(shape).eval()


if __name__ == "__main__":
    main()
