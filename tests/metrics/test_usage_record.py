"""``usage.json``: what this and other versions wrote is read, and written as it was."""

import json

import numpy as np
import pytest

from vqcli.errors import VqcliError
from vqcli.metrics.usage.counts import UsageCounts
from vqcli.metrics.usage.record import COUNTED, UsageRecord

OLDEST = {
    "images": "8 images of x", "codebook_size": 16, "tokens": 128, "used": 12, "utilization": 0.75,
    "uniform_expectation": 0.99, "perplexity": 7.5,
}  # fmt: skip
EVALUATED = {"psnr": 21.5, "rfid": 3.25, "kid": 0.001, "a metric of tomorrow": {"mean": 1}, "protocol": "adm"}


@pytest.mark.parametrize(
    "told", [OLDEST, OLDEST | {"psnr": 21.5}, OLDEST | EVALUATED], ids=["oldest", "no protocol", "evaluated"]
)
def test_what_was_written_is_read_and_written_again(tmp_path, told):
    (tmp_path / "usage.json").write_text(json.dumps(told))
    record = UsageRecord.read(tmp_path)
    assert list(record.to_json().items()) == list(told.items())
    assert record.quality == {name: x for name, x in told.items() if name not in {*OLDEST, "protocol"}}
    assert record.protocol == told.get("protocol")


def test_counts_become_a_record():
    counts = UsageCounts(4)
    counts.add(np.array([[1, 1, 1, 3]]))
    record = UsageRecord.of(counts.report(), "1 image of x", "plain", psnr=20.0)
    assert (record.used, record.utilization, record.tokens) == (2, 0.5, 4)
    assert list(record.to_json()) == ["images", *COUNTED, "psnr", "protocol"]
    assert list(UsageRecord.of(counts.report(), "1 image of x").to_json()) == ["images", *COUNTED]


def test_a_folder_that_was_never_measured_has_none(tmp_path):
    assert UsageRecord.read(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"used": None}, "used must be a whole number, not null"),
        ({"tokens": True}, "tokens must be a whole number, not true"),
        ({"codebook_size": 0}, "codebook_size must be at least 1, not 0"),
        ({"images": 8}, "images must be text, not 8"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, fault):
    (tmp_path / "usage.json").write_text(json.dumps(OLDEST | change))
    with pytest.raises(
        VqcliError, match=rf"usage\.json does not tell a codebook's usage: {fault}"
    ) as refused:
        UsageRecord.read(tmp_path)
    assert (refused.value.reason, refused.value.hint) == ("damaged", "copy the folder again")


def test_what_is_missing_is_named():
    with pytest.raises(VqcliError, match="perplexity must be a finite number, not NaN"):
        UsageRecord.from_json(OLDEST | {"perplexity": float("nan")})
    for name in OLDEST:
        with pytest.raises(VqcliError, match=f"{name} must be given"):
            UsageRecord.from_json({key: value for key, value in OLDEST.items() if key != name})
    with pytest.raises(VqcliError, match="it holds no JSON object"):
        UsageRecord.from_json([])
