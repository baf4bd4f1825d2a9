"""Runs that start from the weights of a model."""

import shutil

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests.training.tiny import (
    RECIPE,
    Recorded,
    assert_same,
    damage,
    metrics,
    resume,
    start,
    tensors,
    write_recipe,
)
from vqcli.checkpoint.tokenizer import load_tokenizer, read_tokenizer
from vqcli.cli.app import app
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs.check import check_recipe
from vqcli.library.references import checkpoints, newest_checkpoint
from vqcli.tokenizers.improved import ImprovedTokenizer
from vqcli.training.recipe import parse_recipe
from vqcli.training.tokenizer import TokenizerTask
from vqcli.yaml_text import override, read_yaml

SHORT = ("training.steps=3", "training.validate_every=9", "schedule.warmup=0")
STILL = (*SHORT, "optimizer.lr=1e-30")
"""Steps too small to move a float32."""
MULTISCALE = ("tokenizer.quantizer={name: multiscale, scales: [1, 2], phis: 2}",)


def codebook(**options):
    return f"tokenizer.codebook={options}".replace("'", "")


LEARNED = codebook(name="learned", size=16, width=8)
EMA = codebook(name="ema", size=16, width=8, revive_below=0.5, kmeans=2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Finished runs of the tiny recipe, which is bridged, one for each of the settings."""
    made = {}

    def of(*settings):
        if settings not in made:
            made[settings] = tmp_path_factory.mktemp("runs") / "run"
            start(made[settings], *SHORT, *settings)
        return made[settings]

    return of


def task(*settings):
    torch.manual_seed(5)
    return TokenizerTask(parse_recipe(override(RECIPE, settings), "tiny"), torch.device("cpu"))


def started(model, *settings):
    """A tokenizer of the recipe that starts from a model, what it would have been, and what was said."""
    made, progress = task(*settings), Recorded()
    made.start_from(str(model), progress)
    (said,) = progress.said
    return made.tokenizer, task(*settings).tokenizer, said


def equal(ours, theirs, *parts):
    """Which of the parts are equal, to the last bit."""
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return [
        part
        for part in parts
        if all(torch.equal(x, theirs[name]) for name, x in ours.items() if name.startswith(f"{part}."))
    ]


NETWORKS = ("encoder", "decoder")
CONVOLUTIONS = ("quant_conv", "post_quant_conv")
CODEBOOK = "quantizer.codebook"
ALL = [*NETWORKS, *CONVOLUTIONS, CODEBOOK]


def test_a_run_goes_on_with_its_unbaked_codebook(runs):
    run = runs()
    newest = newest_checkpoint(run)
    made, _, said = started(run)
    assert said == f"starting from {newest}"
    assert equal(made, read_tokenizer(newest), *ALL) == ALL
    assert torch.equal(made.quantizer.codes(), load_tokenizer(run / "model").quantizer.codes())
    assert made.quantizer.codes().any()


def test_a_baked_folder_starts_a_bridged_codebook_anew_and_says_so(runs):
    model = runs() / "model"
    made, fresh, said = started(model)
    anew = "the codebook starts anew (a bridged codebook cannot start from codes alone)"
    assert said == f"starting from {model}: {anew}"
    assert equal(made, load_tokenizer(model), *ALL[:-1]) == ALL[:-1]
    assert equal(made, fresh, *ALL) == [CODEBOOK]


@pytest.mark.parametrize("settings", [LEARNED, EMA])
def test_codes_of_another_kind_of_codebook_are_adopted(runs, settings):
    run = runs()
    made, _, said = started(run, settings)
    assert said == f"starting from {newest_checkpoint(run)}: the codebook adopts the model's codes"
    assert torch.equal(made.quantizer.codes(), load_tokenizer(run / "model").quantizer.codes())


def test_adopted_averages_can_stand_still_and_be_exported(tmp_path, runs):
    options = (EMA, f"init={runs(LEARNED)}", "freeze=[quantizer]")
    result = start(tmp_path / "run", *SHORT, *options)
    codes_kd = load_tokenizer(runs(LEARNED) / "model").quantizer.codes()
    assert torch.equal(load_tokenizer(result.model).quantizer.codes(), codes_kd)


def test_a_codebook_that_starts_anew_cannot_stand_still(runs):
    made = task("freeze=[quantizer]")
    with pytest.raises(VqcliError, match="and would stand still as it starts") as raised:
        made.start_from(str(runs() / "model"), Recorded())
    assert "freeze" in raised.value.hint


def test_baked_codes_are_a_learned_codebook(runs):
    made, _, said = started(runs() / "model", LEARNED)
    assert said == f"starting from {runs() / 'model'}"
    assert torch.equal(made.quantizer.codes(), load_tokenizer(runs() / "model").quantizer.codes())


def test_averages_of_a_codebook_go_on(runs):
    made, _, said = started(runs(EMA), EMA)
    assert said == f"starting from {newest_checkpoint(runs(EMA))}"
    assert equal(made, read_tokenizer(newest_checkpoint(runs(EMA))), CODEBOOK) == [CODEBOOK]
    assert made.quantizer.codebook.started
    assert not torch.equal(made.quantizer.codebook.counts, torch.ones(16))


def test_the_average_of_a_run_is_what_it_exports_and_starts_others(runs):
    run = runs("training.average=0.9")
    made, _, _ = started(run)
    assert equal(made, load_tokenizer(run / "model"), *NETWORKS) == [*NETWORKS]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ["tokenizer.codebook.width=4"],
            "the codebook starts anew (16 codes of width 8 -> 16 of width 4); "
            "quant_conv starts anew (code width 8 -> 4); post_quant_conv starts anew (code width 8 -> 4)",
        ),
        (["tokenizer.codebook.size=32"], "the codebook starts anew (16 codes of width 8 -> 32 of width 8)"),
        (
            ["tokenizer.codebook.hidden=32"],
            "the codebook starts anew (bridge.compress.weight (16, 8, 2, 2) -> (32, 8, 2, 2))",
        ),
        (
            ["tokenizer.codebook.blocks=modulated"],
            "the codebook starts anew (bridge.condition none -> (16,))",
        ),
        (
            ["tokenizer.quant_conv=3"],
            "quant_conv starts anew (quant_conv.weight (8, 32, 1, 1) -> (8, 32, 3, 3)); "
            "post_quant_conv starts anew (post_quant_conv.weight (32, 8, 1, 1) -> (32, 8, 3, 3))",
        ),
        (
            ["tokenizer.quant_conv=0", "tokenizer.codebook.width=32"],
            "the codebook starts anew (16 codes of width 8 -> 16 of width 32); "
            "quant_conv is left out; post_quant_conv is left out",
        ),
        (
            MULTISCALE,
            "the quantizer is not the model's: name nearest -> multiscale; "
            "quantizer.phi starts anew (quantizer.phi.0.weight none -> (8, 8, 3, 3))",
        ),
        (
            [codebook(name="sign", bits=4)],
            "the codebook starts anew (16 codes of width 8 -> 16 of width 4); "
            "quant_conv starts anew (code width 8 -> 4); post_quant_conv starts anew (code width 8 -> 4)",
        ),
    ],
)
def test_what_does_not_fit_starts_anew_and_the_rest_does_not(runs, settings, sentence):
    newest = newest_checkpoint(runs())
    made, fresh, said = started(runs(), *settings)
    assert said == f"starting from {newest}: {sentence}"
    source = read_tokenizer(newest)
    assert equal(made, source, *NETWORKS) == [*NETWORKS]
    for part in (CODEBOOK, *CONVOLUTIONS):
        anew = f"{part.rpartition('.')[2]} starts anew" in sentence or f"{part} is left out" in sentence
        assert equal(made, fresh if anew else source, part) == [part]


def test_levels_of_equal_number_are_other_codes(runs):
    levels = [codebook(name="levels", levels=each) for each in ([2, 8], [8, 2])]
    _, _, said = started(runs(levels[0]), levels[1])
    assert said.endswith(": the codes are not the model's: levels [2, 8] -> [8, 2]")


def test_what_changes_the_meaning_of_weights_is_said(runs, tmp_path):
    cosine = ['tokenizer.quantizer={"name": "nearest", "metric": "cosine"}', LEARNED]
    _, _, said = started(runs(*cosine), LEARNED)
    assert said.endswith(": the quantizer is not the model's: metric cosine -> l2")
    projected = {"name": "projected", "size": 16, "width": 8, "base_width": 6}
    save_file({"codes": torch.full((16, 6), 5.0)}, tmp_path / "features.safetensors")
    features = str(tmp_path / "features.safetensors")
    made, _, said = started(runs(codebook(**projected)), codebook(**projected, base=features))
    assert said.endswith("the codebook is the model's, how the recipe would start it has no effect")
    assert not (made.quantizer.codebook.base == 5).any()


def test_other_parts_of_the_quantizer_load_where_the_codebook_does_not(runs):
    model = runs(*MULTISCALE) / "model"
    made, fresh, said = started(model, *MULTISCALE)
    assert "the codebook starts anew" in said
    assert "phi" not in said
    assert equal(made, load_tokenizer(model), "quantizer.phi") == ["quantizer.phi"]
    assert equal(made, fresh, "quantizer.phi") == []


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (["tokenizer.channels=64"], "encoder.stem.weight (32, 3, 3, 3) -> (64, 3, 3, 3)"),
        (["tokenizer.z_channels=64"], "encoder.head.weight (32, 32, 3, 3) -> (64, 32, 3, 3)"),
        (
            ["tokenizer.multipliers=[1, 1]", "tokenizer.attention_levels=[1]"],
            "encoder.levels.1.attn.0.norm.weight none -> (32,)",
        ),
        (["tokenizer.attention_levels=[]"], "encoder.levels.2.attn.0.norm.weight (32,) -> none"),
    ],
)
def test_another_network_is_no_start(tmp_path, runs, settings, sentence):
    with pytest.raises(VqcliError) as raised:
        start(tmp_path / "run", *SHORT, f"init={runs()}", *settings)
    assert str(raised.value) == f"{newest_checkpoint(runs())} does not fit the recipe: {sentence}"
    assert raised.value.hint == (
        f"give the recipe the model's network: vqcli info {newest_checkpoint(runs())} --json"
    )
    assert not (tmp_path / "run").exists()


def test_another_kind_of_network_is_no_start(runs):
    with pytest.raises(VqcliError, match="does not fit the recipe: network 'conv' -> 'improved'"):
        started(runs(), f"tokenizer={ImprovedTokenizer.TINY | {'name': 'improved'}}")


def test_a_damaged_or_missing_model_is_no_start(tmp_path, runs):
    model = tmp_path / "model"
    shutil.copytree(runs() / "model", model)
    damage(model / "model.safetensors")
    with pytest.raises(VqcliError, match=r"model\.safetensors is not what manifest\.json says"):
        start(tmp_path / "run", *SHORT, f"init={model}")
    with pytest.raises(VqcliError, match="there is no model at nowhere"):
        start(tmp_path / "run", *SHORT, "init=nowhere")
    assert not (tmp_path / "run").exists()


def test_training_and_its_average_start_from_the_weights(tmp_path, runs):
    progress = Recorded()
    start(tmp_path / "run", *STILL, "training.average=0.5", f"init={runs()}", progress=progress)
    assert progress.said[0] == f"starting from {newest_checkpoint(runs())}"
    ours, theirs = tensors(tmp_path / "run"), tensors(runs())
    for kind in ("model", "average"):
        weights = {name for name in ours if name.startswith(f"{kind}.safetensors encoder.")}
        assert weights
        for name in weights:
            assert torch.equal(ours[name], theirs[name.replace(kind, "model")])
    assert metrics(tmp_path / "run")[-1]["validation/psnr"] == metrics(runs())[-1]["validation/psnr"]


def test_resumed_without_the_model_it_started_from(tmp_path, runs):
    settings = (*SHORT, "training.steps=6", "training.average=0.9", f"init={tmp_path / 'first'}")
    shutil.copytree(runs(), tmp_path / "first")
    start(tmp_path / "whole", *settings)
    with pytest.raises(Interrupted):
        start(tmp_path / "run", *settings, progress=Recorded(2))
    shutil.rmtree(tmp_path / "first")
    progress = Recorded()
    resume(tmp_path / "run", progress=progress)
    assert f"resuming {tmp_path / 'run'} at step 2 of 6" in "\n".join(progress.said)
    assert_same(tmp_path / "run", tmp_path / "whole")
    with pytest.raises(VqcliError, match=f"the recipe changed since the checkpoint: init .* -> {runs()}$"):
        resume(tmp_path / "run", f"init={runs()}")


def test_without_a_checkpoint_a_run_starts_from_the_model_again(tmp_path, runs):
    start(tmp_path / "whole", *SHORT, f"init={runs()}")
    with pytest.raises(Interrupted):
        start(tmp_path / "run", *SHORT, f"init={runs()}", progress=Recorded(2))
    shutil.rmtree(newest_checkpoint(tmp_path / "run"))
    resume(tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_check_needs_no_model(tmp_path):
    info = check_recipe(str(write_recipe(tmp_path)), ["init=nowhere"])
    assert info.settings["init"] == "nowhere"


def vqcli(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--device", "cpu"])


@pytest.mark.parametrize("name", ["model", "[a]: b #c", "123"])
def test_init_is_a_path_whatever_yaml_thinks(tmp_path, runs, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(runs() / "model", tmp_path / name)
    settings = [x for each in SHORT for x in ("--set", each)]
    done = vqcli(write_recipe(tmp_path), "-o", "run", "--init", name, *settings)
    assert done.exit_code == 0, done.output
    assert f"starting from {name}: the codebook starts anew" in done.stderr
    assert read_yaml(tmp_path / "run" / "recipe.yaml")["init"] == name


def test_init_and_resume_exclude_each_other(runs):
    before = checkpoints(runs())
    done = vqcli("--resume", runs(), "--init", runs())
    assert done.exit_code == 2
    assert "--init starts a new run, --resume continues one" in done.stderr
    assert checkpoints(runs()) == before
