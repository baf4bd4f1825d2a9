"""Changes of a recipe that bring codes into use, worded for how a model was trained. numpy only."""

from __future__ import annotations

from vqcli.metrics.usage.facts import Facts


def gentler(facts: Facts) -> str:
    """A weaker pull of latents to codes, where it is strong; it also draws latents together."""
    weight = facts.trained.get("quantizer", {}).get("commitment_weight", 0)
    return " and --set tokenizer.quantizer.commitment_weight=0.25" if weight > 0.25 else ""


def even_scores(facts: Facts) -> str:
    """A stronger pull of a projection's scores to equal ones, where there is such a pull."""
    weight = facts.trained.get("quantizer", {}).get("kl_weight", 0)
    pull = f"--set tokenizer.quantizer.kl_weight={10 * weight:g} holds the scores of all codes together"
    return f"; {pull}" if weight else ""


def move_codes(facts: Facts) -> str:
    """A change that brings codes to the latents, by the kind of the codebook."""
    options = facts.trained.get("codebook", {})
    if facts.codebook == "ema":
        revive = "" if options.get("revive_below") else "--set tokenizer.codebook.revive_below=1 and "
        return f"{revive}--set tokenizer.codebook.kmeans=10 put codes where latents are"
    if facts.codebook == "bridged":
        return "train longer" if options.get("revive_below") else "--set tokenizer.codebook.revive_below=0.5"
    near = facts.codebook in ("", "learned") and options.get("init", "uniform") == "uniform"
    return bridge(facts) + ("; or --set tokenizer.codebook.init=normal, nearer to latents" if near else "")


def bridge(facts: Facts) -> str:
    """VQBridge for as many codes, as a change of the recipe."""
    size = facts.counted.size
    patch = next((p for p in (4, 2) if size % p**2 == 0), 1)
    width = facts.geometry.width if facts.geometry else 64
    metric = facts.trained.get("quantizer", {}).get("metric")
    l2 = " --set tokenizer.quantizer.metric=l2" if metric == "cosine" else ""
    made = f"{{name: bridged, size: {size}, width: {width}, hidden: 128, patch: {patch}, revive_below: 0.5}}"
    return f"--set 'tokenizer.codebook={made}'{l2} (VQBridge, FVQ) moves codes together, used or not"
