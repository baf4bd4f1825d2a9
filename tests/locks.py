"""A folder in the hands of another process."""

import subprocess
import sys
from contextlib import contextmanager

SCRIPT = """
import pathlib, sys
from vqcli import files
with files.locked(pathlib.Path(sys.argv[1])):
    input("1")
"""


@contextmanager
def held_elsewhere(folder):
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", SCRIPT, folder], stdin=pipe, stdout=pipe) as other:
        assert other.stdout.read(1) == b"1"
        yield
        other.communicate(b"\n")
