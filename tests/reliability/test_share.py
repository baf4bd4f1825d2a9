"""The share of the reliability figures that every check has time for."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.__main__ import tried
from tests.reliability.parts import PARTS, part
from tests.reliability.server import close_shared
from tests.reliability.trials import Part, Trial, drawn, kind_of

SEED = int(os.environ.get("VQCLI_RELIABILITY_SEED", "0"))


TWO = re.compile(r"two/|-2/")
"""Trials on two processes take several times as long: ``make test-reliability`` has time for them."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Iterator[Path]:
    """A folder of all parts, since some start from the same."""
    yield tmp_path_factory.mktemp("base")
    close_shared()


def listed(one: Part, base: Path) -> list[Trial]:
    """The trials of as many kinds as there is a share for: to list a kind, it may have to be run."""
    found, kinds = [], set()
    for trial in one.trials(base, SEED):
        if TWO.search(trial.name):
            continue
        kinds.add(kind_of(trial))
        if len(kinds) > one.share:
            break
        found.append(trial)
    return found


@pytest.mark.parametrize("name", PARTS)
def test_a_share_of_each_part_holds(name, base):
    one = part(name)
    try:
        ends = [tried(trial) for trial in drawn(listed(one, base), one.share, SEED)]
    finally:
        one.close()
    assert ends
    assert [(end["name"], end["wrong"]) for end in ends if end["wrong"]] == []
