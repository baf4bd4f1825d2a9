"""A kind of model that the table has learned goes to the Hub and comes back as others do."""

import pytest

from tests import toy_kind
from tests.hub.commands import vqcli
from tests.models import make_model
from vqcli.checkpoint.folder import kind_of
from vqcli.checkpoint.kinds import KINDS
from vqcli.door.load import load


@pytest.fixture(autouse=True)
def judge(monkeypatch):
    monkeypatch.setitem(KINDS, "judge", toy_kind.JUDGE)


def test_push_then_pull(hub, tmp_path):
    model = toy_kind.make(tmp_path / "judge", make_model(tmp_path / "vq"))
    done = vqcli("push", model, "me/judge", "--yes")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith("Next: vqcli judge IMAGES -m me/judge\n")
    (sent,) = hub.repositories["me/judge"]
    assert vqcli("pull", "me/judge", "-o", tmp_path / "back").exit_code == 0
    assert kind_of(tmp_path / "back") == "judge"
    back = {p.relative_to(tmp_path / "back").as_posix() for p in (tmp_path / "back").rglob("*.*")}
    assert back == set(sent)
    assert load("me/judge", "cpu").judge([[1, 2]]) in range(3)
