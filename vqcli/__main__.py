"""``python -m vqcli``, and the ``vqcli`` command."""

import signal
import sys

JSON, STOPPED = "--json", '{"error": "stopped", "hint": "", "reason": "interrupted"}'


def main() -> None:
    """Run the command line; a signal is no traceback, even while modules are still loaded."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # it raises nothing in the first milliseconds
    from vqcli import signals

    signals.stop_at_once()
    try:
        from vqcli.cli.app import main as run
    except BaseException:  # what a signal raises inside of an import can become an ImportError
        if not signals.received:
            raise
        stream = sys.stdout if JSON in sys.argv else sys.stderr
        if stream:
            stream.write(f"{STOPPED if JSON in sys.argv else 'stopped'}\n")
        sys.exit(128 + signals.received[-1])
    run()


if __name__ == "__main__":
    main()
