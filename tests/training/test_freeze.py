"""Parts that stand still while the others train."""

import pytest
import torch
from safetensors.torch import load_file

from tests.training.tiny import resume, start, write_recipe
from vqcli.checkpoint.tokenizer import load_tokenizer
from vqcli.errors import VqcliError
from vqcli.jobs.check import check_recipe
from vqcli.library.references import checkpoints

SHORT = ("training.steps=3", "training.validate_every=9", "schedule.warmup=0")
EVERY = ("training.checkpoint_every=1", "training.keep=9")
CODEBOOK = "quantizer.codebook"
PARTS = ("encoder", "quant_conv", CODEBOOK, "post_quant_conv", "decoder")
LEARNED = "tokenizer.codebook={name: learned, size: 16, width: 8}"
EMA = "tokenizer.codebook={name: ema, size: 16, width: 8, revive_below: 0.5, kmeans: 2}"


def moved(folder, other, file="model"):
    """Names of the tensors that differ between two checkpoints."""
    ours, theirs = (load_file(each / f"{file}.safetensors") for each in (folder, other))
    return {name for name, x in ours.items() if not torch.equal(x, theirs[name])}


def of(part, names):
    return [name for name in names if name.startswith(f"{part}.")]


@pytest.mark.parametrize(
    ("frozen", "settings"),
    [
        (["encoder"], []),
        (["encoder", "quant_conv", "quantizer"], []),
        (["quantizer.codebook.bridge.compress", "decoder.mid"], []),
        ([CODEBOOK], [EMA]),
        ([], [EMA]),
        (["quantizer", "encoder"], [LEARNED, "training.average=0.9", "optimizer.weight_decay=0.5"]),
    ],
)
def test_frozen_parts_are_the_same_bits_after_every_step(tmp_path, frozen, settings):
    run = tmp_path / "run"
    start(run, *SHORT, *EVERY, *settings, f"freeze=[{', '.join(frozen)}]")
    first, last = checkpoints(run)[0], checkpoints(run)[-1]
    for file in ("model", "average") if len(settings) > 1 else ("model",):
        names = moved(first, last, file)
        assert [part for part in frozen if of(part, names)] == []
        trains = [part for part in PARTS if not {part, part.partition(".")[0]} & {*frozen}]
        assert [part for part in PARTS if of(part, names)] == trains
    resume(run, "training.steps=4")  # what is stored of the optimizer fits


def test_a_decoder_that_trained_on_alone_reads_the_same_tokens(tmp_path):
    start(tmp_path / "first", *SHORT)
    alone = "freeze=[encoder, quant_conv, quantizer]"
    start(tmp_path / "second", *SHORT, f"init={tmp_path / 'first'}", alone)
    names = moved(checkpoints(tmp_path / "first")[-1], checkpoints(tmp_path / "second")[-1])
    assert [part for part in PARTS if of(part, names)] == ["post_quant_conv", "decoder"]
    first, second = (load_tokenizer(tmp_path / name / "model") for name in ("first", "second"))
    assert first.fingerprint == second.fingerprint


@pytest.mark.parametrize(
    ("names", "message", "hint"),
    [
        ("[encodr]", "the tokenizer has no part 'encodr'", "did you mean 'encoder'?"),
        ("[quantizer.codebok]", "the tokenizer has no part 'quantizer.codebok'", "'quantizer.codebook'?"),
        ("['']", "the tokenizer has no part ''", "known: quantizer, quantizer.codebook, "),
        (
            "[encoder, decoder, quantizer, quant_conv, post_quant_conv]",
            "nothing is left to train",
            "freeze less",
        ),
    ],
)
def test_what_cannot_be_frozen(tmp_path, names, message, hint):
    recipe = str(write_recipe(tmp_path))
    for attempt in (
        lambda: start(tmp_path / "run", f"freeze={names}"),
        lambda: check_recipe(recipe, [f"freeze={names}"]),
    ):
        with pytest.raises(VqcliError) as raised:
            attempt()
        assert str(raised.value) == f"freeze: {message}"
        assert hint in raised.value.hint
    assert not (tmp_path / "run").exists()


def test_check_counts_what_trains(tmp_path):
    recipe = str(write_recipe(tmp_path))
    plain, frozen = check_recipe(recipe, []), check_recipe(recipe, ["freeze=[encoder]"])
    assert plain.parameters == frozen.parameters
    saved = 4 * 3 * plain.parameters["encoder"]  # no gradient, no moments
    assert plain.memory["weights"] - frozen.memory["weights"] == saved
