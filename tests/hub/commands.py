"""The command line, as tests of the Hub use it."""

from typer.testing import CliRunner

from vqcli.cli.app import app


def vqcli(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")


def refused(reference, message, hint=""):
    """The one sentence of a failed pull."""
    done = vqcli("pull", reference)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    *_, error, advice = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint in advice
    return done.stderr
