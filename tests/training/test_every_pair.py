"""Every codebook with every quantizer: trained, stopped, resumed, loaded; images to tokens and back."""

import json

import pytest
import torch

from tests.quantizers.test_contract_quantizers import CODELESS, PAIRS, REFUSED
from tests.training.tiny import Recorded, assert_same, metrics, resume, start
from vqcli.data.tokens.files import open_tokens
from vqcli.errors import Interrupted, VqcliError
from vqcli.jobs.decode import DecodeOptions, decode
from vqcli.jobs.encode import encode
from vqcli.jobs.encoder import ImageOptions
from vqcli.jobs.evaluation.evaluate import evaluate
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.registry import resolve

SETTINGS = ["training.steps=12", "data.size=16", "training.checkpoint_every=12", "training.validate_every=12"]


def settings(book: str, quantizer: str) -> list[str]:
    """The tiny recipe with these parts: latents of 4x4."""
    given = {"codebook": ("codebooks", book), "quantizer": ("quantizers", quantizer)}
    parts = {key: {"name": name} | resolve(kind, name).TINY for key, (kind, name) in given.items()}
    return SETTINGS + [f"tokenizer.{key}={json.dumps(part)}" for key, part in parts.items()]


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair not in REFUSED], ids="-".join)
def test_a_pair_works_from_training_to_images(tmp_path, pair):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    asked = settings(*pair)
    result = start(whole, *asked)
    assert metrics(whole)[-2]["l2"] < metrics(whole)[0]["l2"]
    with pytest.raises(Interrupted):
        start(stopped, *asked, progress=Recorded(stop_at=5))
    resume(stopped)
    assert_same(whole, stopped)

    options = ImageOptions("demo:8", str(result.model), batch_size=4, device="cpu", num_workers=0)
    if pair == CODELESS:
        with pytest.raises(VqcliError, match="has no codebook: it makes latents, not tokens"):
            encode(options, tmp_path / "tokens.npy")
        assert not list(tmp_path.glob("tokens*"))
        asked = EvaluateOptions(str(result.model), "demo:8", metrics=("psnr",), device="cpu", num_workers=0)
        assert evaluate(asked).results["psnr"] > 5
        assert not {"utilization", "perplexity"} & set(metrics(whole)[0])
        return
    encoded = encode(options, tmp_path / "tokens.npy")
    assert encoded.encoded == 8
    tokens = open_tokens(tmp_path / "tokens.npy")
    assert tokens.grid is not None
    assert tokens.grid[-1] == (4, 4)
    assert len(tokens) == 8
    decoding = DecodeOptions(str(result.model), 4, "cpu")
    assert decode(tmp_path / "tokens.npy", tmp_path / "images", decoding).images == 8


@pytest.mark.parametrize("pair", sorted(REFUSED), ids="-".join)
def test_a_refused_pair_says_so_before_there_is_a_run(tmp_path, pair):
    with pytest.raises(VqcliError, match=r"trains codes by gradient|needs codes;|has codes") as refusal:
        start(tmp_path / "run", *settings(*pair))
    assert refusal.value.hint
    assert not (tmp_path / "run").exists()


def test_the_metrics_of_pairs_are_logged(tmp_path):
    start(tmp_path / "run", *settings("learned", "index_propagation"))
    assert {"soft", "entropy", "codebook", "commitment"} <= set(metrics(tmp_path / "run")[0])
    assert torch.isfinite(torch.tensor(metrics(tmp_path / "run")[0]["soft"]))
