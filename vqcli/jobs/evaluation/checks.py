"""What an evaluation refuses before its work begins: places that are taken, numbers that would mislead."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vqcli import files
from vqcli.data.names import named
from vqcli.errors import VqcliError
from vqcli.jobs.evaluation.measuring import INCEPTION, Measuring, check_known
from vqcli.jobs.evaluation.options import EvaluateOptions
from vqcli.jobs.evaluation.outputs import FILES
from vqcli.jobs.evaluation.target import Target
from vqcli.jobs.places import check_folder, settle
from vqcli.library.cache import cache_folder
from vqcli.library.references import check_named


def check_given(options: EvaluateOptions) -> None:
    """Raises VqcliError where a flag names what is not there: before a model is fetched."""
    check_known(options.metrics)
    weights = {"--lpips-weights": options.lpips_weights, "--inception-weights": options.inception_weights}
    for flag, path in weights.items():
        if path and not files.exists(path.expanduser()):
            message = f"{path}, which should hold weights, does not exist"
            raise VqcliError(message, hint=f"check {flag}", reason="input-missing")
    if options.tokenizer:
        check_named(options.tokenizer)
    if named(options.target) == "model":
        check_named(options.target)


def check_network(options: EvaluateOptions, target: Target, measuring: Measuring) -> None:
    """Raises VqcliError where statistics come from a network with other weights."""
    made, own = target.statistics_of, measuring.networks.get(INCEPTION, "")
    if made and own and made.split()[-1] != own.split()[-1]:  # their hashes
        message = f"{options.images} was made with {made} of {INCEPTION}, not with {own}"
        raise VqcliError(message, hint="make it anew: --statistics", reason="option")


def check_same(measuring: Measuring, names: Sequence[str]) -> None:
    """Raises VqcliError where this process lacks a network that the first one has, or has one more."""
    if list(measuring.metrics) != names:
        message = f"this machine can measure {', '.join(measuring.metrics)}, the first {', '.join(names)}"
        hint = "name what is measured with --metrics, or bring the same weights to all machines"
        raise VqcliError(message, hint=hint, reason="environment")


def check_record(options: EvaluateOptions, target: Target, names: Sequence[str]) -> None:
    """Raises VqcliError where what will be found cannot stand in a model's folder."""
    wrong = ""
    if not target.reconstructs:
        wrong, hint = "--record is for a tokenizer's folder", "give a tokenizer as the target"
    elif cache_folder().resolve() in (target.folder or Path()).resolve().parents:
        wrong, hint = (
            f"{options.target} lies in the cache, not in a folder of yours",
            "vqcli pull or import it",
        )
    elif files.exists((target.folder or Path()).joinpath("state.json")):
        wrong, hint = f"{target.folder} is a training checkpoint", "finish the run: record in its export"
    elif not target.codebook_size:
        wrong = f"{target.folder} has no codebook, and --record keeps the usage of one"
        hint = "leave it out: the results are printed, and -o keeps them"
    elif "usage" not in names:
        wrong, hint = "--record needs usage, which a card tells first", "add usage to --metrics"
    elif options.random_networks:
        wrong, hint = "what networks with random weights found is not for a card", "leave --record out"
    if wrong:
        raise VqcliError(wrong, hint=hint, reason="option")


def check_places(options: EvaluateOptions, out: Path | None, *, force: bool, stopped: bool) -> None:
    """Raises VqcliError if a place for results is taken, or is none.

    ``stopped``: an evaluation was stopped between writing these statistics and its other results.
    """
    if out:
        check_out(out, force=force)
    if options.statistics:
        check_statistics(options.statistics, force=force or stopped)


def check_out(out: Path, *, force: bool) -> None:
    """Raises VqcliError if ``out`` is no folder, or holds files that results would replace."""
    check_folder(out)
    settle(out, FILES)
    taken = [name for name in FILES if files.exists(out / name)]
    if taken and not force:
        hint = "give another -o, or --force to replace them"
        raise VqcliError(f"{out} holds {', '.join(taken)}", hint=hint, reason="exists")


def check_statistics(path: Path, *, force: bool) -> None:
    """Raises VqcliError if ``path`` is no place for statistics: ``--images`` knows them by their name."""
    if path.suffix.lower() != ".npz":
        raise VqcliError(f"--statistics {path} is not named .npz", hint=f"{path}.npz", reason="option")
    if files.exists(path) and not force:
        raise VqcliError(
            f"{path} exists", hint="give another name, or --force to replace it", reason="exists"
        )
