"""Why a codebook is used so little, and what cures it: plain rules on measured numbers. numpy only.

docs/collapse.md explains each cause. A codebook whose usage is near what uniform use would show has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from vqcli.metrics.usage.cures import bridge, even_scores, gentler, move_codes
from vqcli.metrics.usage.facts import Cause, Counted, Diagnosis, Facts, mean_share

Rule = Callable[[Facts], Cause | None]

ENOUGH = 0.99
"""Share of the codes uniform use should reach before utilization says much."""
FALLEN = 2 / 3
"""Share of its best below which usage has fallen: noise from line to line of a log is far smaller."""
FULL, ANNEALED = 0.9, 0.5
"""Shares of the highest rate: at or above the one a run is at full rate, at or below the other annealed."""
WINDOW = 5
"""Lines of a log that are averaged."""
BLOWN = {"ema": 10.0, "": 100.0}
"""Length of never-used codes over that of latents from which on no start explains it, by codebook, unknown
where it was baked. An average is no longer than its vectors or its start, which is about 1, or sqrt(D) if it
is ``standard``; a sum over eps = 1e-5 is 100,000 times that, and then shrinks by 1 - decay in every step."""
EXPLODED = 100.0
"""Length of latents over sqrt(D) that is no scale to train at: behind a group norm, theirs starts near 1."""
FAR = 2.0
"""Distance of never-used codes to latents, over that of used ones, from which on they lie elsewhere."""
RISING = 0.05
"""Gain from ``WINDOW`` lines of a log to the next, as a share of what uniform use would show, that tells of
usage that still rises: noise between two such means is far smaller."""
STARVED = 0.5
"""Share of codes that a slot uses, over that of the fullest, below which it starves."""
SURE = 4.0
"""Deviations below the mean of all slots from which on a share is no matter of chance."""
FEW_DIRECTIONS = 1.05
"""Effective rank up to which vectors fill hardly more than a line. Sound tokenizers of small images, after a
few hundred steps, have 1.3: brightness outweighs all else."""


def diagnose(facts: Facts) -> Diagnosis:
    """Likely causes of low usage."""
    counted = facts.counted
    too_few = [few_tokens(counted)] if counted.expected < ENOUGH and counted.size > 1 else []
    found = named((starved_slots,), facts)  # where one of many is dead, most codes are used none the less
    if counted.low:
        found = named(MARKED, facts) or named((far_codes,), facts)  # which may follow from any of those
        found = found + named((few_directions,), facts) or named((still_rising,), facts)
        found = found or [unexplained(facts)]
    return Diagnosis((*found, *too_few), facts.latents, facts.no_latents)


def named(rules: Iterable[Rule], facts: Facts) -> list[Cause]:
    """What these rules find."""
    return [cause for rule in rules if (cause := rule(facts))]


def tokens_needed(size: int) -> int:
    """Tokens of which uniform use would show ``ENOUGH`` of so many codes."""
    return math.ceil(math.log(1 - ENOUGH) / math.log1p(-1 / size)) if size > 1 else 1


def few_tokens(counted: Counted) -> Cause:
    """Even uniform use could not show the codes."""
    needed, each = tokens_needed(counted.size), counted.tokens / max(counted.images, 1)
    images = f"{math.ceil(needed / each):,} images ({needed:,} tokens)" if counted.images else ""
    return Cause(
        "too few images",
        f"{counted.tokens:,} tokens cannot show {counted.size:,} codes: uniform use would reach "
        f"{counted.expected:.1%} of them, here it is {counted.used / counted.size:.1%}",
        f"count at least {images or f'{needed:,} tokens'}: name more --images, raise --limit",
    )


def sleeping_slots(facts: Facts) -> Cause | None:
    """Codes of a VQBridge that are still the zero its last layer starts with (docs/vqbridge.md)."""
    g = facts.geometry
    # the zeros are equal, so all but the first count as duplicates; of a table, none is ever exactly zero
    if g is None or g.norm_min > 0 or facts.codebook not in ("", "bridged") or facts.no_latents:
        return None
    zeros = g.duplicates + 1
    if zeros < (facts.counted.size - facts.counted.used) / 2:
        return None
    patch = facts.trained.get("codebook", {}).get("patch")
    slots = f", {round(zeros * patch**2 / g.codes)} of {patch**2} slots of a patch" if patch else ""
    return Cause(
        "sleeping slots of a VQBridge",
        f"{zeros:,} of {g.codes:,} codes are exactly zero{slots}: they never woke",
        "--set tokenizer.codebook.revive_below=0.5: a slot without hits takes rows of a busy one",
    )


def starved_slots(facts: Facts) -> Cause | None:
    """Slots of a VQBridge most of whose codes were left behind together (docs/vqbridge.md)."""
    slots, counted = facts.slots, facts.counted
    if slots is None or counted.expected < ENOUGH or sleeping_slots(facts):
        return None
    each, share = counted.size // len(slots), slots.mean()
    chance = SURE * math.sqrt(share * (1 - share) / each)
    starved = slots[(slots < STARVED * slots.max()) & (slots < share - chance)]
    if not len(starved):
        return None
    revived = facts.trained["codebook"].get("revive_below")
    return Cause(
        "starved slots of a VQBridge",
        f"{len(starved)} of {len(slots)} slots of a patch, of {each:,} codes each, use {starved.mean():.1%} "
        f"of them, the fullest {slots.max():.1%}: codes of a slot share rows of the last layer, which learn "
        "nothing once no latent chooses one of them",
        "train longer: slots are revived on the way"
        if revived
        else "--set tokenizer.codebook.revive_below=0.5: a slot with few hits takes rows of a busy one",
    )


def blown_away(facts: Facts) -> Cause | None:
    """Never-used codes of an EMA codebook that were divided by next to nothing."""
    at = facts.latents
    if at is None or at.unused is None or at.metric == "dot" or facts.codebook not in BLOWN:
        return None
    latent = at.latents.norm_mean
    if at.unused.norm_median < BLOWN[facts.codebook] * latent:
        return None
    return Cause(
        "EMA codes blown away",
        f"never-used codes are {at.unused.norm_median:.3g} long, latents {latent:.3g}: cluster sizes that "
        "start at 0 divide the sum of a code nobody chose by eps",
        "--set tokenizer.codebook.first_size=1 and --set tokenizer.codebook.revive_below=1, with "
        "--set tokenizer.codebook.init=normal",
    )


def exploded(facts: Facts) -> Cause | None:
    """Latents and codes that run away together, or codes that are no numbers."""
    g, at = facts.geometry, facts.latents
    cure = (
        "--set optimizer.lr=1e-4 --set optimizer.clip=1, and --set tokenizer.quantizer.commitment_weight=1, "
        "which holds latents at their codes"
    )
    if g and g.not_finite:
        return Cause("norms exploded", f"{g.not_finite:,} of {g.codes:,} codes are not finite", cure)
    if at is None or at.latents.norm_mean < EXPLODED * math.sqrt(at.latents.width):
        return None
    if facts.codebook == "learned" and facts.trained.get("quantizer", {}).get("name", "nearest") == "nearest":
        cure += "; or --set tokenizer.quantizer.metric=cosine, where lengths do not count"
    lengths = f"latents are {at.latents.norm_mean:.3g} long in {at.latents.width} dimensions"
    used = f", the codes they use {at.used.norm_median:.3g}" if at.used else ""
    return Cause("norms exploded", lengths + used, cure)


def fell_in_annealing(facts: Facts) -> Cause | None:
    """Codes lost between the last steps at full rate and the end, more of them than were missing before."""
    lines = [x for x in facts.history if "utilization" in x and x.get("learning_rate", 0) > 0]
    top = max([x["learning_rate"] for x in lines], default=0.0)
    full = [x for x in lines if x["learning_rate"] >= FULL * top]
    if not full or lines[-1]["learning_rate"] > ANNEALED * top:
        return None
    before, after = (mean_share(facts.counted.size, some[-WINDOW:]) for some in (full, lines))
    if after > FALLEN * before or before - after < 1 - before:
        return None
    return Cause(
        "usage fell while the rate was annealed",
        f"from {before:.1%} of what uniform use would show at step {full[-1]['step']:,.0f} (rate {top:.2g}) "
        f"to {after:.1%} at step {lines[-1]['step']:,.0f} (rate {lines[-1]['learning_rate']:.2g})",
        f"{bridge(facts)}, which anneals without losing codes; "
        "or --set schedule.hold=0.8 --set schedule.floor=0.1",
    )


def behind_linear_map(facts: Facts) -> Cause | None:
    """Codes that one matrix moves, none of them to where it is missing."""
    if facts.codebook != "projected" or facts.trained["codebook"].get("hidden") or facts.no_latents:
        return None
    unused = facts.counted.size - facts.counted.used
    rates = [x["learning_rate"] for x in facts.history if "learning_rate" in x]
    over = bool(rates) and rates[-1] <= ANNEALED * max(rates)
    now = f"; annealed to a rate of {rates[-1]:.2g}, it hardly moves any more" if over else ""
    at = facts.latents
    near = at.unused if at and at.metric == "l2" else None
    where = f", {near.latent_distance:.3g} from the nearest latent (median)" if near else ""
    uniform = facts.trained["codebook"].get("base") == "uniform"
    apart = "; or --set tokenizer.codebook.base=gaussian (SimVQ), which starts codes apart" if uniform else ""
    return Cause(
        "dead codes behind a linear map",
        f"{unused:,} codes are never used{where}: one matrix moves all codes alike, and none to where it is "
        f"missing{now}",
        bridge(facts) + apart,
    )


def left_at_start(facts: Facts) -> Cause | None:
    """Codes that were drawn from U(-1/K, 1/K) and hardly moved: the first that were chosen took all."""
    at, size = facts.latents, facts.counted.size
    if at is None or at.unused is None or facts.codebook not in ("", "learned"):
        return None
    if at.unused.norm_median > math.sqrt(at.latents.width) / size:  # some were chosen for a while
        return None
    return Cause(
        "codes left where they started",
        f"{at.unused.codes:,} never-used codes still lie where they were drawn, {at.unused.norm_median:.2g} "
        f"from zero (median), while latents are {at.latents.norm_mean:.3g} long: the first codes that were "
        "chosen took them all",
        move_codes(facts),
    )


def far_codes(facts: Facts) -> Cause | None:
    """Codes that lie where no latents are, so that none ever becomes theirs."""
    at = facts.latents
    if at is None or at.unused is None or at.used is None or at.metric == "dot":
        return None
    if at.unused.latent_distance < FAR * max(at.used.latent_distance, at.code_distance):
        return None
    mapped = facts.codebook in ("bridged", "projected")
    still = "their map has not moved them there" if mapped else "nothing moves a code that none chooses"
    return Cause(
        "codes far from the latents",
        f"{at.unused.codes:,} never-used codes lie {at.unused.latent_distance:.3g} from the nearest latent "
        f"(median), used codes {at.used.latent_distance:.3g}; {still}",
        move_codes(facts),
    )


def few_directions(facts: Facts) -> Cause | None:
    """Latents, or codes where no latents are known, that vary along a line."""
    vectors, what = (facts.latents.latents, "latents") if facts.latents else (facts.geometry, "codes")
    if vectors is None or not vectors.effective_rank <= FEW_DIRECTIONS < vectors.width:
        return None
    return Cause(
        "collapsed to a line",
        f"{what} of {vectors.width} dimensions vary along hardly more than a line: their effective "
        f"rank is {vectors.effective_rank:.2f}",
        f"--set tokenizer.codebook.width={min(8, vectors.width // 2)} (fewer dimensions, all of them used)"
        + gentler(facts),
    )


MARKED: tuple[Rule, ...] = (
    sleeping_slots,
    starved_slots,
    blown_away,
    exploded,
    fell_in_annealing,
    behind_linear_map,
    left_at_start,
)
"""Causes with marks that nothing else leaves, the surest first."""


def still_rising(facts: Facts) -> Cause | None:
    """Codes that were being won one after the other when the run ended."""
    lines = [x for x in facts.history if "utilization" in x][-2 * WINDOW :]
    if len(lines) < 2 * WINDOW:
        return None
    before, after = (mean_share(facts.counted.size, some) for some in (lines[:WINDOW], lines[WINDOW:]))
    if after - before < RISING:
        return None
    first, last = (int(lines[i]["step"]) for i in (WINDOW - 1, -1))
    return Cause(
        "training was too short",
        f"usage still rose when the run ended: from {before:.1%} of what uniform use would show at step "
        f"{first:,} to {after:.1%} at step {last:,}",
        f"train longer: --set training.steps={2 * last}",
    )


FEWER = "more varied images, or fewer codes (vqcli prune drops those never used)"


def unexplained(facts: Facts) -> Cause:
    """What can be said where nothing was found."""
    counted, at = facts.counted, facts.latents
    shown = (
        f"{counted.used / counted.size:.1%} of the codes are used, uniform use shows {counted.expected:.1%}"
    )
    if facts.codebook in ("sign", "levels"):
        cure = "train with fewer bits or levels; for bits also --set tokenizer.quantizer.entropy_weight=0.1"
        return Cause("codes no latent falls into", shown, cure)
    if facts.no_latents:
        why = f"{shown}; where latents lie cannot tell why: {facts.no_latents}"
        return Cause("unknown", why, FEWER + even_scores(facts))
    if at is None or at.unused is None:
        if facts.geometry:  # a model is the target already
            return Cause("unknown", shown, "name images with --images: latents may tell why")
        return Cause("unknown", shown, "name the model or its run as TARGET, with --images: latents tell why")
    if at.metric == "dot":
        used = f", used ones {at.used.norm_median:.3g}" if at.used else ""
        why = (
            f"{shown}; codes are chosen by dot product, for which lengths count too: distances cannot tell "
            f"why; never-used codes are {at.unused.norm_median:.3g} long (median){used}"
        )
        return Cause("unknown", why, f"{FEWER}; {move_codes(facts)}")
    return Cause(
        "more codes than the latents need",
        f"{shown}; never-used codes lie {at.unused.latent_distance:.3g} from the nearest latent, as used "
        "ones do: others are closer",
        f"{FEWER}; {move_codes(facts)}",
    )
