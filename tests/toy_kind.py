"""A third kind of model, as a newcomer would add it: a row, and what its targets name."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from vqcli import files
from vqcli.checkpoint.contents import copy_tokenizer
from vqcli.checkpoint.folder import FORMAT, read_config
from vqcli.checkpoint.kinds import Kind
from vqcli.checkpoint.weights import load_state, read_tensors

JUDGE = Kind(
    section="network",
    load="tests.toy_kind:load",
    describe="tests.toy_kind:describe",
    door="tests.toy_kind:JudgeModel",
    commands="judge",
    use="judge IMAGES",
    card="## Use\n\n    vqcli judge IMAGES -m {repository}{apart}\n",
    on_tokens=True,
)


@dataclass(frozen=True)
class JudgeInfo:
    """A judge's folder."""

    folder: Path
    kind: str
    classes: int

    def rows(self):
        return [("folder", self.folder), ("judges", f"{self.classes} classes")]


def make(folder, tokenizer=None):
    """A judge's folder, its tokenizer's in it where that is given."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    files.write_tensors(folder / "model.safetensors", nn.Linear(16, 3).state_dict())
    if tokenizer:
        copy_tokenizer(tokenizer, folder)
    files.write_json(
        folder / "config.json", {"kind": "judge", "format": FORMAT, "network": {"codes": 16, "classes": 3}}
    )
    return folder


def describe(folder, _reference):
    return JudgeInfo(folder, "judge", read_config(folder, "judge")["network"]["classes"])


def load(folder, device):
    network = read_config(folder, "judge")["network"]
    module = nn.Linear(network["codes"], network["classes"])
    load_state(module, read_tensors(folder / "model.safetensors", ""), folder)
    return module.to(device)


class JudgeModel:
    """What ``vqcli.load`` gives."""

    def __init__(self, module, folder, options):
        self.module, self.folder, self.options = module, folder, options

    def judge(self, tokens):
        counts = torch.bincount(torch.as_tensor(tokens).flatten(), minlength=self.module.in_features)
        return int(self.module(counts.float()).argmax())
