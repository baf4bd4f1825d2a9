"""Contract tests run over the parts of ``$VQCLI_PLUGINS`` too: docs/extending.md."""

import gc
import signal
import warnings

import pytest

from vqcli.plugins import allow, named_in_environment

allow(*named_in_environment())
# Under nohup, or behind an &, what tests start would ignore them too.
for name, usual in (("SIGHUP", signal.SIG_DFL), ("SIGINT", signal.default_int_handler)):
    number = getattr(signal, name, None)
    if number and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

LONG = ("tests/reliability/test_share", "tests/parity/", "tests/cli/test_environments", "tests/training/")


def pytest_collection_modifyitems(items):
    """What takes longest begins first: at the end, no process is left alone with it."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_is_garbage():
    """Every training ends by a collection, which would look through all modules and all tests each time."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # of others' tests
        gc.collect()
    gc.freeze()
