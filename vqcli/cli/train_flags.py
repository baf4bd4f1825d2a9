"""What a flag that ``train`` does not have was meant to be: another flag, or a key of the recipe."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from vqcli.config import leaves

FLAGS = {
    "--steps": "max-steps num-steps train-steps max-train-steps iters iterations max-iters n-steps",
    "--batch-size": "batch bs train-batch-size per-device-train-batch-size global-batch-size",
    "--lr": "learning-rate base-lr max-lr",
    "--size": "image-size img-size resolution res crop-size",
    "--codes": "codebook-size num-codes n-codes n-embed num-embeddings vocab-size codebook-entries k",
    "--data": "data-path data-dir dataset train-data train-data-dir images input image-folder",
    "--out": "output output-dir outdir save-dir results-dir log-dir name exp-name",
    "--resume": "resume-from resume-from-checkpoint continue load-checkpoint",
    "--init": "pretrained finetune-from vq-ckpt ckpt checkpoint weights",
    "--num-workers": "workers dataloader-num-workers",
    "--precision": "mixed-precision amp fp16 bf16 dtype",
    "--track": "wandb tensorboard report-to logger",
    "--seed": "random-seed global-seed",
    "--tokenizer": "vq vq-model",
    "--device": "gpu cuda cpu accelerator",
}
"""Names that other tools have for our flags."""
KEYS = {
    "training.steps=10 epochs": "epochs num-epochs num-train-epochs max-epochs n-epochs",
    "training.checkpoint_every=500": "save-every save-steps ckpt-every save-interval checkpoint-steps",
    "training.validate_every=500": "eval-every eval-steps val-every validation-steps",
    "training.log_every=50": "logging-steps log-interval log-steps",
    "training.accumulate=4": "gradient-accumulation-steps grad-accum accum-iter accumulate-grad-batches",
    "training.average=0.999": "ema ema-decay use-ema",
    "optimizer.clip=1.0": "max-grad-norm grad-clip gradient-clip-val clip-grad",
    "schedule.warmup=500": "warmup-steps lr-warmup-steps warmup-epochs num-warmup-steps",
    "schedule.decay=cosine": "lr-scheduler lr-scheduler-type scheduler",
    "tokenizer.codebook.width=64": "embed-dim code-dim codebook-dim codebook-embed-dim latent-dim dim z-dim",
    "tokenizer.quantizer.commitment_weight=0.25": "beta commitment commit-loss-beta commitment-cost",
    "losses.perceptual=1.0": "perceptual-weight lpips perceptual-loss",
    "data.holdout=0.02": "val-split validation-split val-ratio test-size",
    "data.augment=flip": "random-flip hflip augmentation",
    "data.labels=false": "no-labels",
    "data.keep_profile=true": "keep-profile",
}
"""Names that other tools and commands have for keys that only ``--set`` reaches, each with a value."""
NEAR, SHOWN = 0.8, 3
"""How like a name must be (difflib), and keys named at most."""


def unknown_flag(flag: str, arguments: Sequence[str]) -> str:
    """A sentence on a flag that there is not, which shows how to say it; ``arguments``: all on the line."""
    name = flag.lstrip("-").replace("_", "-").lower()
    flags = {other: ours for ours, others in FLAGS.items() for other in (*others.split(), ours[2:])}
    if name in flags:
        return f"there is no flag {flag}: it is called {flags[name]}"
    keys = {other: key for key, others in KEYS.items() for other in others.split()}
    if name in keys:
        key, _, value = keys[name].partition("=")
        return f"there is no flag {flag}: write {_set(key, value, flag, arguments)}"
    known = dict(leaves(_recipe(arguments)))
    found = named_keys(name, known)
    if not found and (near := difflib.get_close_matches(name, flags, n=1, cutoff=NEAR)):
        return f"there is no flag {flag}: did you mean {flags[near[0]]}?"
    found = (found or near_keys(name, known))[:SHOWN]
    if not found:
        return f"there is no flag {flag}; any key of the recipe (vqcli new photos) is set by --set key=value"
    told = " or ".join(_set(key, known[key], flag, arguments) for key in found)
    return f"there is no flag {flag}; for a key of the recipe write {told}"


def _set(key: str, value: Any, flag: str, arguments: Sequence[str]) -> str:
    """``--set key=value`` with the value that was typed, if any."""
    typed = [x.partition("=")[2] for x in arguments if x.startswith(f"{flag}=")]
    typed += [after for x, after in pairwise(arguments) if x == flag and not after.startswith("-")]
    if typed:
        value = f"{typed[0]} epochs" if str(value).endswith(" epochs") else typed[0]
    text = f"{key}={value}"
    return f"--set '{text}'" if set(text) & set(" []{}*") else f"--set {text}"


def named_keys(name: str, keys: Iterable[str]) -> list[str]:
    """The keys of which the last word, or the whole path, is the name."""
    wanted = name.replace("-", "_")
    return [key for key in keys if wanted in (key.rsplit(".", 1)[-1], key.replace(".", "_"), key)]


def near_keys(name: str, keys: Iterable[str]) -> list[str]:
    """The keys that are most like the name, the likest first."""
    last: dict[str, list[str]] = {}
    for key in keys:
        last.setdefault(key.rsplit(".", 1)[-1], []).append(key)
    near = difflib.get_close_matches(name.replace("-", "_"), last, n=SHOWN, cutoff=NEAR)
    return [key for word in near for key in last[word]]


def _recipe(arguments: Sequence[str]) -> dict[str, Any]:
    """All keys of the recipe that the line names, with their values; of ``photos`` where it names none."""
    from vqcli.errors import VqcliError
    from vqcli.recipes import recipe_names
    from vqcli.training.recipe import read_recipe

    names = recipe_names()
    named = [x for x in arguments if x in names or x.endswith((".yaml", ".yml"))]
    for reference in (*named[:1], "photos"):
        try:
            return read_recipe(reference).model_dump(mode="json")
        except VqcliError:  # it is told when training starts; here it is only looked at for its keys
            continue
    return {}
