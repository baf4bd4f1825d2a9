"""``python -m vqcli``, and the ``vqcli`` command."""

import sys

from vqcli import signals


def main() -> None:
    """Run the command line; a signal is no traceback, even while modules are still loaded."""
    signals.stop_at_once()
    try:
        from vqcli.cli.app import main as run
    except BaseException:  # what a signal raises inside of an import can become an ImportError
        if not signals.received:
            raise
        sys.stderr and sys.stderr.write("stopped\n")
        sys.exit(128 + signals.received[-1])
    run()


if __name__ == "__main__":
    main()
