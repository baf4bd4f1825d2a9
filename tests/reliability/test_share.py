"""The share of the reliability figures that every check has time for."""

import os
import re
from pathlib import Path

import pytest

from tests.reliability.__main__ import tried
from tests.reliability.parts import PARTS, part
from tests.reliability.trials import drawn

SEED = int(os.environ.get("VQCLI_RELIABILITY_SEED", "0"))


TWO = re.compile(r"two/|-2/")
"""Trials on two processes take several times as long: ``make test-reliability`` has time for them."""


@pytest.mark.parametrize("name", PARTS)
def test_a_share_of_each_part_holds(name, tmp_path_factory):
    base: Path = tmp_path_factory.mktemp("base")
    one = part(name)
    try:
        quick = [trial for trial in one.trials(base, SEED) if not TWO.search(trial.name)]
        ends = [tried(trial) for trial in drawn(quick, one.share, SEED)]
    finally:
        one.close()
    assert ends
    assert [(end["name"], end["wrong"]) for end in ends if end["wrong"]] == []
