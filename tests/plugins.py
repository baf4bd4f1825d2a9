"""Plugins in tests: each command as if in a process of its own, which knows no plugin yet."""

import sys
from contextlib import contextmanager

from typer.testing import CliRunner

from vqcli import plugins
from vqcli.cli.app import app
from vqcli.parts import PARTS


@contextmanager
def forgotten():
    """Plugins that are allowed in here are not allowed afterwards."""
    tables = {kind: dict(names) for kind, names in PARTS.items()}
    broken, path, modules = dict(plugins.BROKEN), sys.path[:], set(sys.modules)
    plugins.installed.cache_clear()
    try:
        yield
    finally:
        for module in plugins.loaded() & (sys.modules.keys() - modules):
            del sys.modules[module]
        for kind, names in tables.items():
            PARTS[kind].clear()
            PARTS[kind].update(names)
        plugins.BROKEN.clear()
        plugins.BROKEN.update(broken)
        sys.path[:] = path
        plugins.installed.cache_clear()


def vqcli(*arguments):
    """The result of a command."""
    with forgotten():
        return CliRunner().invoke(app, [*map(str, arguments)], prog_name="vqcli")
