"""The share of the reliability figures that every check has time for."""

import os
from pathlib import Path

import pytest

from tests.reliability.__main__ import tried
from tests.reliability.parts import PARTS, part
from tests.reliability.trials import drawn

SEED = int(os.environ.get("VQCLI_RELIABILITY_SEED", "0"))


@pytest.mark.parametrize("name", PARTS)
def test_a_share_of_each_part_holds(name, tmp_path_factory):
    base: Path = tmp_path_factory.mktemp("base")
    one = part(name)
    try:
        ends = [tried(trial) for trial in drawn(list(one.trials(base, SEED)), one.share, SEED)]
    finally:
        one.close()
    assert ends
    assert [(end["name"], end["wrong"]) for end in ends if end["wrong"]] == []
