"""Drop the codes that nothing uses: a smaller model with the same images, and tokens with new numbers.

Dropping a code that is never the closest changes nothing but the numbers of the others. Dropping one that is
used, but rarely (``min_count``), leaves its latents to the next closest: their images get other tokens.
Shape letters: K codes before.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vqcli import files
from vqcli.checkpoint.contents import replaceable
from vqcli.checkpoint.tokenizer import fingerprint, save_tokenizer
from vqcli.data.tokens.files import TokensFile, TokensFolder, open_tokens
from vqcli.data.tokens.remap import Renumbering, check_place, pruned_path, renumber
from vqcli.data.tokens.store import token_type
from vqcli.errors import VqcliError
from vqcli.jobs.encoder import Encoder
from vqcli.jobs.options import PruneOptions
from vqcli.jobs.usage import count_images, count_tokens, tokens_source
from vqcli.library.open import open_tokenizer
from vqcli.metrics.usage.counts import Counts, UsageCounts
from vqcli.metrics.usage.record import UsageRecord
from vqcli.tokenizers.base import Tokenizer
from vqcli.types import Progress, silent

FORMAT, MAPPING = 1, "prune.json"
Found = TokensFile | TokensFolder


@dataclass(frozen=True)
class PruneResult:
    """What a job came to."""

    out: Path | None
    """The new model; None where every code is kept: then nothing was written."""
    model: Path
    codes: int
    """Of the model."""
    kept: int
    min_count: int
    counted_on: list[str]
    """How many images of what, and how they were prepared."""
    tokens: int
    """All that were counted."""
    renumbered: list[Path]
    """Tokens with new numbers."""
    fingerprint: str
    """Of the new model; of the old one where nothing was written."""
    rejected: list[dict[str, str]]
    """Images that could not be used."""


@dataclass
class Uses:
    """How often each code was used, and by what."""

    counts_k: Counts
    images: int = 0
    what: list[str] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)

    def add(self, counts: UsageCounts, source: str) -> None:
        """Count more."""
        self.counts_k = self.counts_k + counts.counts_k
        self.images += counts.images
        self.what.append(f"{counts.images:,} images of {source}")


def prune(model: str, out: Path, options: PruneOptions, progress: Progress = silent) -> PruneResult:
    """Write a model folder with those codes of ``model`` that are used, and tokens with their new numbers.

    All of it appears when all is written. Raises VqcliError where nothing was named to count, no code would
    be left, codes are implicit, tokens are of another tokenizer, or a result is there already.
    """
    found = [open_tokens(path) for path in options.tokens]
    check_options(options)
    with ExitStack() as claims:
        for place in places(out, found):
            claims.enter_context(files.claimed(place))
        check_places(out, found, force=options.force)
        return _prune(model, out, found, options, progress)


def _prune(
    model: str, out: Path, found: list[Found], options: PruneOptions, progress: Progress
) -> PruneResult:
    encoder = Encoder(replace(options.images, model=model), progress=progress) if options.images else None
    tokenizer, folder = (
        (encoder.tokenizer, encoder.folder)
        if encoder
        else open_tokenizer(model, torch.device("cpu"), progress)
    )
    tokenizer.quantizer.require_table()
    if files.resolved(out) == files.resolved(folder):
        raise VqcliError(f"{out} is the model itself", hint="give another -o", reason="exists")
    for tokens in found:
        check_tokens(tokens, tokenizer, progress, force=options.force)
    uses = count_uses(tokenizer, encoder, found, progress)
    kept = kept_codes(uses.counts_k, options.min_count)
    drops = len(kept) < len(uses.counts_k)
    if drops:
        exact = options.min_count == 1 and all(made_by(tokens, tokenizer) for tokens in found)
        usage = exact_usage(uses, kept) if exact else None
        record = drop_codes(tokenizer.cpu(), folder, kept, uses, options.min_count)
        with ExitStack() as pending:  # the model takes its name last, and then all is whole
            folder_out = pending.enter_context(files.writing_folder(out))
            new = write_model(tokenizer, usage, record, folder_out)
            for tokens in found:
                renumber(tokens, pruned_path(tokens), new, pending, progress, force=options.force)
    return PruneResult(
        out=out if drops else None,
        model=folder,
        codes=len(uses.counts_k),
        kept=len(kept),
        min_count=options.min_count,
        counted_on=uses.what,
        tokens=int(uses.counts_k.sum()),
        renumbered=[pruned_path(tokens) for tokens in found] if drops else [],
        fingerprint=tokenizer.fingerprint,
        rejected=uses.rejected,
    )


def check_options(options: PruneOptions) -> None:
    """Raises VqcliError if nothing is named to count, or tokens would be left without a number."""
    if not options.images and not options.tokens:
        raise VqcliError(
            "nothing tells which codes are used",
            hint="name images with --images, or tokens that the model made with --tokens",
            reason="input-missing",
        )
    if options.tokens and options.min_count > 1:
        raise VqcliError(
            f"with --min-count {options.min_count} codes that the tokens use could be dropped",
            hint="leave it out, or prune over --images and encode them again with the new model",
            reason="option",
        )


def check_places(out: Path, found: list[Found], *, force: bool) -> None:
    """Raises VqcliError if something is where a result goes; ``renumber`` tells if tokens are the same."""
    files.check_free(out, ours=replaceable(out), force=force)
    for tokens in found:
        check_place(tokens)


def places(out: Path, found: list[Found]) -> list[Path]:
    """Where results go. Raises VqcliError if two go to the same place."""
    all_places = [out, *map(pruned_path, found)]
    if len(set(map(files.resolved, all_places))) < len(all_places):
        raise VqcliError(
            "two results would go to the same place",
            hint="name all --tokens once, and another -o",
            reason="exists",
        )
    return all_places


def check_tokens(found: Found, tokenizer: Tokenizer, progress: Progress, *, force: bool) -> None:
    """Raises VqcliError if tokens are another tokenizer's."""
    if found.info is None:
        progress.say(f"{found.path} does not say which tokenizer made it")
    elif not made_by(found, tokenizer) and not force:
        prints = found.info.fingerprint[:8], tokenizer.fingerprint[:8]
        raise VqcliError(
            f"{found.path} is of tokenizer {prints[0]}, the model is {prints[1]}",
            hint="give the model that made it, or --force",
            reason="fingerprint",
        )


def made_by(found: Found, tokenizer: Tokenizer) -> bool:
    """Whether tokens say that they are this tokenizer's."""
    return found.info is not None and found.info.fingerprint == tokenizer.fingerprint


def count_uses(tokenizer: Tokenizer, encoder: Encoder | None, found: list[Found], progress: Progress) -> Uses:
    """Uses of every code in all images and tokens. Raises VqcliError as their counting does."""
    size = tokenizer.spec.codebook_size
    uses = Uses(np.zeros(size, np.int64))
    if encoder:
        counts, uses.rejected = count_images(encoder, progress)
        uses.add(counts, f"{encoder.options.images}, {encoder.preprocessing}")
    for tokens in found:
        uses.add(count_tokens(tokens, size, progress), tokens_source(tokens))
    return uses


def kept_codes(counts_k: Counts, min_count: int) -> np.ndarray:
    """Old tokens of the codes that are used often enough, ascending. Raises VqcliError if there is none."""
    kept = np.flatnonzero(counts_k >= min_count)
    if not len(kept):
        raise VqcliError(
            f"no code is used {min_count:,} times, none would be left",
            hint=f"the most used one is used {counts_k.max():,} times: give a smaller --min-count",
            reason="option",
        )
    return kept


def drop_codes(
    tokenizer: Tokenizer, folder: Path, kept: np.ndarray, uses: Uses, min_count: int
) -> dict[str, Any]:
    """Prune the tokenizer itself, which is another map to tokens then; returns ``prune.json``."""
    source = {
        "folder": str(folder),
        "fingerprint": tokenizer.fingerprint,
        "codebook_size": tokenizer.spec.codebook_size,
    }
    tokenizer.quantizer.prune(torch.from_numpy(kept))
    tokenizer.fingerprint = fingerprint(tokenizer)
    return {
        "format": FORMAT,
        "from": source,
        "fingerprint": tokenizer.fingerprint,
        "min_count": min_count,
        "counted_on": uses.what,
        "images": uses.images,
        "tokens": int(uses.counts_k.sum()),
        "kept": kept.tolist(),
        "counts": uses.counts_k[kept].tolist(),
    }


def exact_usage(uses: Uses, kept: np.ndarray) -> UsageRecord:
    """The record of the new model, where no used code is dropped: the same counts over fewer codes."""
    counts = UsageCounts(len(kept))
    counts.counts_ek[0], counts.images = uses.counts_k[kept], uses.images
    return UsageRecord.of(counts.report(), "; ".join(uses.what))


def write_model(
    tokenizer: Tokenizer, usage: UsageRecord | None, record: dict[str, Any], folder: Path
) -> Renumbering:
    """Write the pruned model into a folder; returns what its codes are called now."""
    kept, size = record["kept"], len(record["kept"])
    new_k = np.zeros(record["from"]["codebook_size"], token_type(size))
    new_k[kept] = np.arange(size)
    save_tokenizer(tokenizer, folder, usage=usage, note=describe(record))
    lines = (f' "{name}": {json.dumps(value)}' for name, value in record.items())
    files.write_text(folder / MAPPING, "{\n" + ",\n".join(lines) + "\n}\n")
    return Renumbering(new_k, size, tokenizer.fingerprint)


def describe(record: dict[str, Any]) -> str:
    """What the model card says of it."""
    source, often = record["from"], record["min_count"]
    times = "once" if often == 1 else f"{often:,} times"
    return (
        f"Pruned from {source['folder']} (fingerprint {source['fingerprint'][:8]}): "
        f"{len(record['kept']):,} of {source['codebook_size']:,} codes are kept, "
        f"those used at least {times} in {'; '.join(record['counted_on'])}. "
        f"`{MAPPING}` has the old token of each."
    )
