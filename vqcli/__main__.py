"""``python -m vqcli``, and the ``vqcli`` command.

What stands before ``main`` runs a few milliseconds after Python, and imports only what is built into it.
"""

import _signal  # type: ignore[import-not-found]
import os
import sys

JSON, STOPPED = "--json", '{"error": "stopped", "hint": "", "reason": "interrupted"}'


def _end(number: int, frame: object) -> None:
    """End at once, while modules are still loaded: nothing has begun, and imports cannot hide it."""
    stream = sys.stdout if JSON in sys.argv else sys.stderr
    if stream:
        try:  # noqa: SIM105 (contextlib would be imported first)
            os.write(stream.fileno(), f"{STOPPED if JSON in sys.argv else 'stopped'}\n".encode())
        except (OSError, ValueError):
            pass
    os._exit(128 + number)


for _name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
    if hasattr(_signal, _name) and _signal.getsignal(getattr(_signal, _name)) not in (_signal.SIG_IGN, None):
        _signal.signal(getattr(_signal, _name), _end)


def main() -> None:
    """Run the command line; a signal is no traceback, even while modules are still loaded."""
    from vqcli.cli.app import main as run

    run()


if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder: modules of anybody's lie there
    main()
