"""The parts by name; each is a module with a class ``Part...``, imported when it is asked for."""

from importlib import import_module

from tests.reliability.trials import Part

PARTS: dict[str, str] = {
    "bombs": "bombs:Bombs",
    "faults": "faults:Faults",
    "races": "races:Races",
    "flips": "flips:Flips",
    "fuzz": "fuzz:Fuzz",
    "kills": "kills:Kills",
    "hostile": "hostile:Hostile",
    "malformed": "malformed:Malformed",
    "mutants": "mutants:Mutants",
    "hub": "hub:Hubs",
    "resumes": "resumes:Resumes",
}
"""``name: module:class``, a line a part."""


def part(name: str) -> Part:
    module, _, kind = PARTS[name].partition(":")
    made: Part = getattr(import_module(f"tests.reliability.{module}"), kind)()
    return made
