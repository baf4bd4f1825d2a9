"""The parts by name; each is a module with a class ``Part...``, imported when it is asked for."""

from importlib import import_module

from tests.reliability.trials import Part

PARTS: dict[str, str] = {
    "faults": "faults:Faults",
    "flips": "flips:Flips",
    "fuzz": "fuzz:Fuzz",
    "malformed": "malformed:Malformed",
    "mutants": "mutants:Mutants",
}
"""``name: module:class``, a line a part."""


def part(name: str) -> Part:
    module, _, kind = PARTS[name].partition(":")
    made: Part = getattr(import_module(f"tests.reliability.{module}"), kind)()
    return made
