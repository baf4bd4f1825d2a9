"""What a diagnosis says of measured numbers; tests/jobs/test_usage_causes.py has it on prepared models."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from vqcli.metrics.usage.counts import UsageCounts, uniform_expectation
from vqcli.metrics.usage.diagnosis import diagnose, tokens_needed
from vqcli.metrics.usage.facts import Counted, Facts
from vqcli.metrics.usage.geometry import measure_geometry
from vqcli.metrics.usage.latents import distances_to_chosen, measure_latents
from vqcli.nn.code_grid import slots_of
from vqcli.training.recipe import read_recipe

K, D = 64, 8
RNG = np.random.default_rng(0)
LATENTS = RNG.normal(size=(500, D)).astype(np.float32)


def codebook(name, **options):
    return {"codebook": {"name": name, "size": K, "width": D} | options}


def facts(codes_kd, used, trained=None, history=(), latents=LATENTS):
    """A codebook of which the first ``used`` codes take a thousand tokens each."""
    counts_k = np.where(np.arange(K) < used, 1000, 0)
    counts = UsageCounts(K)
    counts.counts_ek[0], counts.images = counts_k, 100
    at = measure_latents(latents, codes_kd, counts_k)
    return Facts(Counted.of(counts.report()), measure_geometry(codes_kd), at, trained or {}, history)


def names(found):
    return [cause.name for cause in diagnose(found).causes]


def among(n=K, scale=1.0):
    """Codes where the latents are."""
    return (RNG.normal(size=(n, D)) * scale).astype(np.float32)


def log(shares, rates):
    """Lines of a log whose tokens show every code."""
    return [
        {"step": 10 * i, "utilization": share, "utilization_tokens": 10**6, "learning_rate": rate}
        for i, (share, rate) in enumerate(zip(shares, rates), 1)
    ]


def test_a_sound_codebook_has_no_cause():
    for history in ((), log([1.0, 0.5, 0.9], [1.0, 1.0, 1.0])):
        assert names(facts(among(), K, codebook("bridged"), history)) == []
    assert names(facts(among(), math.ceil(0.9 * K))) == []


def test_what_lies_where():
    far = among()
    far[4:] += 20
    for trained, told in (
        ({}, "nothing moves a code"),
        (codebook("bridged"), "their map has not moved them"),
    ):
        (cause,) = diagnose(facts(far, 4, trained)).causes
        assert cause.name == "codes far from the latents"
        assert told in cause.evidence
    assert names(facts(among(), 4)) == ["more codes than the latents need"]
    start = among()
    start[4:] = RNG.uniform(-1 / K, 1 / K, (K - 4, D))
    for trained in ({}, codebook("learned", init="uniform")):
        assert names(facts(start, 4, trained)) == ["codes left where they started"]
    assert "left where" not in str(names(facts(start, 4, codebook("ema"))))


def test_lengths():
    blown = among()
    blown[4:] *= 1e4
    for trained in ({}, codebook("ema")):
        assert names(facts(blown, 4, trained)) == ["EMA codes blown away"]
    assert names(facts(blown, 4, codebook("learned"))) == ["codes far from the latents"]
    assert names(facts(among(), 4, latents=LATENTS * 1e4))[0] == "norms exploded"
    broken = among()
    broken[0] = np.nan
    assert names(facts(broken, 4))[0] == "norms exploded"


def test_sleeping_slots_are_counted():
    zeros = among()
    zeros[16:] = 0
    found = diagnose(facts(zeros, 17, codebook("bridged", patch=2))).causes
    assert [cause.name for cause in found] == ["sleeping slots of a VQBridge"]
    assert "48 of 64 codes are exactly zero, 3 of 4 slots of a patch" in found[0].evidence
    assert names(facts(zeros, 17, codebook("learned"))) != ["sleeping slots of a VQBridge"]


def slotted(used_of_slot, tokens=64_000, **options):
    """Facts of 1,024 codes behind a bridge with patches of 4x4, so many codes of each slot used evenly."""
    slots, counts = slots_of(np.arange(1024), 32, 4), np.zeros(1024, np.int64)
    for slot, used in enumerate(used_of_slot):
        counts[np.flatnonzero(slots == slot)[:used]] = 1
    counts *= tokens // max(1, counts.sum())
    counted = UsageCounts(1024)
    counted.counts_ek[0] = counts
    trained = codebook("bridged", patch=4, size=1024, **options)
    return Facts(Counted.of(counted.report()), trained=trained, counts_k=counts)


def test_a_starved_slot_is_named_whatever_else_is_used():
    (cause,) = diagnose(slotted([0, *[64] * 15])).causes
    assert cause.name == "starved slots of a VQBridge"
    assert (
        "1 of 16 slots of a patch, of 64 codes each, use 0.0% of them, the fullest 100.0%" in cause.evidence
    )
    assert "revive_below=0.5" in cause.cure
    (cause,) = diagnose(slotted([0, *[64] * 15], revive_below=0.5)).causes
    assert cause.cure.startswith("train longer")
    assert diagnose(slotted([40, *[64] * 15])).causes == ()


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3, 0.6, 1.0])
def test_slots_that_differ_by_chance_do_not_starve(share):
    for seed in range(20):
        used = np.random.default_rng(seed).binomial(64, share, 16)
        assert "starved slots of a VQBridge" not in names(slotted(used))
    few = slotted([0, *[64] * 15], tokens=960)  # uniform use would show 61 %
    assert "starved slots of a VQBridge" not in names(few)


def test_latents_on_a_line():
    line = LATENTS[:, :1] * np.ones((1, D), np.float32)
    assert names(facts(among(), 4, latents=line))[-1] == "collapsed to a line"


def chosen_by(metric, codes_kd, used, trained=None, history=()):
    """Facts of a codebook whose codes are chosen so."""
    plain = facts(codes_kd, used, trained, history)
    return replace(plain, latents=replace(plain.latents, metric=metric))


def test_distances_prove_nothing_of_dot_products():
    far, blown = among(), among()
    far[4:] += 20
    blown[4:] *= 1e4
    for codes_kd in (far, blown, among()):
        (found,) = diagnose(chosen_by("dot", codes_kd, 4)).causes
        assert found.name == "unknown"
        assert "by dot product" in found.evidence
        assert (
            f"never-used codes are {np.median(np.linalg.norm(codes_kd[4:], axis=1)):.3g} long"
            in found.evidence
        )
        assert "--images" not in found.cure
    start = among()
    start[4:] = RNG.uniform(-1 / K, 1 / K, (K - 4, D))  # lengths do prove something
    assert names(chosen_by("dot", start, 4)) == ["codes left where they started"]
    (linear,) = diagnose(chosen_by("dot", far, 4, codebook("projected"))).causes
    assert linear.name == "dead codes behind a linear map"
    assert "nearest latent" not in linear.evidence


def test_where_nothing_is_compared_the_reason_is_told_and_no_cure_that_was_followed():
    zeros = among()
    zeros[8:] = 0
    for trained in ({}, codebook("bridged"), codebook("projected")):
        known = replace(facts(zeros, 8, trained), latents=None, no_latents="it rolls dice")
        told = diagnose(known)
        assert [cause.name for cause in told.causes] == ["unknown"]
        assert told.causes[0].evidence.endswith("cannot tell why: it rolls dice")
        assert "--images IMAGES" not in told.causes[0].cure
        assert "TARGET" not in told.causes[0].cure
        assert told.no_latents == "it rolls dice"
        weighted = replace(known, trained=trained | {"quantizer": {"kl_weight": 5e-4}})
        assert "--set tokenizer.quantizer.kl_weight=0.005" in diagnose(weighted).causes[0].cure


def test_a_training_that_was_too_short():
    """Only said of a run whose log shows it, and only where nothing else is found."""
    rising = log(np.linspace(0.1, 0.5, 20), [1.0] * 20)
    counted = Counted(K, 20, 10**5, 100)
    (found,) = diagnose(Facts(counted, history=rising)).causes
    assert found.name == "training was too short"
    assert "from 35.3% of what uniform use would show at step 150 to 45.8% at step 200" in found.evidence
    assert found.cure.endswith("--set training.steps=400")
    assert names(facts(among(), 20, history=rising)) == ["training was too short"]
    for settled in (log([0.1] * 5 + [0.3] * 15, [1.0] * 20), rising[:9]):
        assert names(Facts(counted, history=settled)) == ["unknown"]
    far = among()
    far[4:] += 20
    assert names(facts(far, 4, history=rising)) == ["codes far from the latents"]


def test_a_fall_belongs_to_the_annealing_only_if_it_came_with_it():
    rates = [1.0] * 10 + list(np.linspace(1, 0.01, 10))
    linear = codebook("projected", base="gaussian")
    lost = log([0.9] * 10 + list(np.linspace(0.9, 0.3, 5)) + [0.3] * 5, rates)
    found = diagnose(facts(among(), 20, linear, lost)).causes
    assert [cause.name for cause in found] == [
        "usage fell while the rate was annealed",
        "dead codes behind a linear map",
    ]
    told = found[0].evidence
    assert re.search(r"from 90\.0% .* at step 110 \(rate 1\) to 30\.0% at step 200 \(rate 0\.01\)", told)
    before = log([0.9] * 5 + [0.3] * 15, rates)  # at full rate
    early = log([0.9] * 10 + [0.3] * 10, [1.0] * 20)  # never annealed
    never = log([0.4] * 10 + [0.2] * 10, rates)  # more was missing before
    for history in (before, early, never):
        assert names(facts(among(), 20, linear, history)) == ["dead codes behind a linear map"]


@pytest.mark.parametrize(("tokens", "told"), [(64, True), (291, True), (300, False), (10**6, False)])
def test_too_few_tokens_are_no_low_usage(tokens, told):
    """A model used exactly as uniform use would show: nothing but that more images are needed."""
    used = round(K * uniform_expectation(K, tokens))
    found = diagnose(Facts(Counted(K, used, tokens, images=10))).causes
    assert [cause.name for cause in found] == ["too few images"] * told
    if told:
        images, needed = (int(x) for x in re.findall(r"(\d+) images \((\d+) tokens\)", found[0].cure)[0])
        assert needed == tokens_needed(K) == 293
        assert (images - 1) * tokens / 10 < needed <= images * tokens / 10
        assert 1 - (1 - 1 / K) ** needed >= 0.99 > 1 - (1 - 1 / K) ** (needed - 1)


def test_codes_seen_once_are_not_taken_for_dead():
    """Of uneven use, few tokens show less than of even use; what turned up once tells that there is more."""
    assert Counted(1000, 300, 1000, 10, once=0).low
    assert not Counted(1000, 400, 1000, 10, once=200).low
    unknown, _ = diagnose(Facts(Counted(1000, 30, 1000, 10))).causes
    assert unknown.cure.startswith("name the model or its run as TARGET, with --images")
    assert names(Facts(Counted(1000, 30, 1000, 10))) == ["unknown", "too few images"]


def test_cures_are_options_there_are():
    """Every ``--set`` of every cure is taken by the recipe of the codebook it is said of."""
    start, far, zeros = among(), among(), among()
    start[4:], zeros[16:] = 0.001, 0
    far[4:] += 20
    recipes = {
        "vqgan-cifar10": facts(start, 4, codebook("learned", init="uniform")),
        "vqgan-fc-cifar10": facts(among() * 1e6, 4, codebook("learned"), latents=LATENTS * 1e4),
        "vqgan-ema-cifar10": facts(among() + 1e4, 4, codebook("ema")),
        "rq-vae-cifar10": facts(far, 4, codebook("ema")),
        "fvq-cifar10": facts(zeros, 17, codebook("bridged", patch=2)),
        "simvq-cifar10": facts(
            far, 4, codebook("projected"), log([0.9] * 6 + [0.3] * 6, [1] * 6 + [0.1] * 6)
        ),
        "ibq-cifar10": facts(
            among() * 1e6,
            4,
            codebook("learned") | {"quantizer": {"name": "index_propagation"}},
            latents=LATENTS * 1e4,
        ),
        "vqgan-gumbel-cifar10": replace(
            facts(among(), 4, {"quantizer": {"kl_weight": 5e-4}}), latents=None, no_latents="x"
        ),
        "llamagen-cifar10": facts(
            far, 4, codebook("learned", init="unit") | {"quantizer": {"metric": "cosine"}}
        ),
    }
    for recipe, found in recipes.items():
        cures = [cause.cure for cause in diagnose(found).causes]
        settings = [re.findall(r"--set (?:'([^']+)'|([\w.=-]+))", cure) for cure in cures]
        assert all(settings), cures
        for quoted, plain in itertools.chain(*settings):
            read_recipe(recipe, [quoted or plain])


def test_distances_are_those_of_a_slow_search():
    some, others = among(30) + 100, among(50) + 100
    slow = np.sqrt(((some[:, None].astype(float) - others[None]) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(distances_to_chosen(some, others), slow, rtol=1e-5)
    chosen = others[(some.astype(float) @ others.T).argmax(1)]
    longest = np.linalg.norm(some - chosen, axis=1)
    np.testing.assert_allclose(distances_to_chosen(some, others, "dot"), longest, rtol=1e-4)


def test_latents_are_measured_against_used_and_unused_codes():
    z_nd = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    codes_kd = np.array([[0, 0.5], [3, 4], [np.nan, 0]], np.float32)
    at = measure_latents(z_nd, codes_kd, np.array([3, 0, 0]))
    assert at.code_distance == pytest.approx(0.5)
    assert (at.used.codes, at.used.norm_max, at.used.latent_distance) == (1, 0.5, 0.5)
    assert (at.unused.codes, at.unused.norm_median) == (1, 5)
    assert at.unused.latent_distance == pytest.approx(math.hypot(3, 3))
    with pytest.raises(ValueError, match="do not fit"):
        measure_latents(z_nd, codes_kd[:, :1], np.array([3, 0, 0]))
    assert measure_latents(z_nd, codes_kd, np.array([0, 0, 0])).used is None
