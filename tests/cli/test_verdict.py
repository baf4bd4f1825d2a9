"""What is said of an error: of the machine's, of other processes', of our own."""

import signal

import pytest

from vqcli.cli.verdict import verdict
from vqcli.errors import Interrupted


@pytest.mark.parametrize(
    ("error", "message", "reason"),
    [
        (MemoryError(), "out of memory", "memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: no memory\nmore"),
            "[enforce fail]",
            "memory",
        ),
        (
            RuntimeError("[x] DefaultCPUAllocator: can't allocate: you tried to allocate 32000000000 bytes."),
            "out of memory: 32 GB were asked for at once",
            "memory",
        ),
        (
            RuntimeError("unable to open shared memory object </torch_1>"),
            "unable to",
            "os",
        ),
        (OSError(28, "No space left on device"), "No space left", "os"),
        (RuntimeError("[../gloo/pair.cc:1] Connection closed by peer"), "another process of", "environment"),
        (ImportError("libcudart.so: no such file", name="torch"), "a package cannot be", "environment"),
        (ImportError("no such part", name="vqcli.parts"), "internal error of vqcli", "internal"),
        (RuntimeError("shapes differ"), "internal error of vqcli", "internal"),
    ],
)
def test_only_our_own_faults_are_internal(error, message, reason):
    code, said, hint, word = verdict(error, "")
    assert (code, word) == (1, reason)
    assert said.startswith(message)
    assert hint
    assert "\n" not in said


def test_a_stop_says_how_to_go_on():
    go_on = "the same command goes on"
    assert verdict(KeyboardInterrupt(), go_on) == (130, f"stopped; {go_on}", "", "interrupted")
    assert verdict(Interrupted("stopped", signal.SIGHUP), "") == (129, "stopped", "", "interrupted")
    told = Interrupted("stopped at step 3; to go on: vqcli train --resume r", signal.SIGTERM)
    assert verdict(told, go_on) == (143, str(told), "", "interrupted")


def test_what_a_signal_becomes_inside_of_an_import_is_a_stop(monkeypatch):
    from vqcli import signals

    monkeypatch.setattr(signals, "received", [signal.SIGINT])
    assert verdict(ImportError("cannot import name 'x'", name="numpy"), "")[0] == 130
