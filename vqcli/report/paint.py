"""Colours of a picture that is a file of its own: written into every shape, so that all readers show them.

Many readers of SVG know no CSS variables, and some no style sheets at all. What is left of the style sheet is
the dark theme, for viewers that prefer one.
"""

from __future__ import annotations

import re

_DARK = re.compile(r"@media\(prefers-color-scheme:dark\)\{((?:[^{}]*\{[^{}]*\}\s*)*)\}")
_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
_OPENING = re.compile(r"<(\w+)((?: [\w:-]+=\"[^\"]*\")*)(/?)>")
_FONT = re.compile(r"([\d.]+)px (.+)")
_ALPHA = re.compile(r"(#[0-9a-fA-F]{6})([0-9a-fA-F]{2})")

Rule = tuple[str, tuple[str, ...], dict[str, str]]
"""Element or nothing, classes, and what an element with these has: property -> value."""


def painted(picture: str, style: str) -> str:
    """A picture whose elements have what a style says of them in its light theme, as attributes."""
    colours = _variables(_DARK.sub("", style))
    known = list(_rules(style, colours))

    def paint(found: re.Match[str]) -> str:
        element, attributes, end = found.groups()
        named = re.search(r' class="([^"]*)"', attributes)
        classes = set(named[1].split()) if named else set()
        own: dict[str, str] = {}
        for kind, needed, properties in known:
            if kind in ("", element) and (kind or needed) and classes >= set(needed):
                own |= properties
        added = (
            f' {name}="{value}"' for name, value in _attributes(own).items() if f" {name}=" not in attributes
        )
        return f"<{element}{attributes}{''.join(added)}{end}>"

    return _OPENING.sub(paint, picture)


def dark(style: str) -> str:
    """A style sheet of the dark theme alone: literal colours, only where they differ from the light ones."""
    light = _variables(_DARK.sub("", style))
    colours = light | _variables("".join(_DARK.findall(style)))
    plain = (_rules(style, each) for each in (light, colours))
    rules = []
    for (element, classes, bright), (_, _, dim) in zip(*plain):
        changed = ";".join(f"{name}:{value}" for name, value in dim.items() if bright[name] != value)
        if changed:
            rules.append(f"{'.'.join([element, *classes])}{{{changed}}}")
    return f"@media(prefers-color-scheme:dark){{{''.join(rules)}}}" if rules else ""


def _variables(style: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+):([^;}]+)", style))


def _rules(style: str, colours: dict[str, str]) -> list[Rule]:
    """The rules below ``svg``, a selector each, in order: of equal rank, as later ones win."""
    found: list[Rule] = []
    for selectors, body in _RULE.findall(_DARK.sub("", style)):
        pairs = (each.partition(":")[::2] for each in body.split(";") if each)
        own = {n: re.sub(r"var\(--(\w+)\)", lambda m: colours[m[1]], v) for n, v in pairs}
        for selector in selectors.split(","):
            _, below, last = selector.strip().partition(" ")
            if below:
                element, *classes = last.split(".")
                found.append((element, tuple(classes), own))
    return sorted(found, key=lambda rule: len(rule[1]))


def _attributes(properties: dict[str, str]) -> dict[str, str]:
    """Properties as old readers know them: a font in two attributes, a colour apart from its opacity."""
    found: dict[str, str] = {}
    for name, value in properties.items():
        if font := _FONT.fullmatch(value) if name == "font" else None:
            found |= {"font-size": font[1], "font-family": font[2]}
        elif alpha := _ALPHA.fullmatch(value):
            found |= {name: alpha[1], f"{name}-opacity": f"{int(alpha[2], 16) / 255:.3g}"}
        else:
            found[name] = value.removesuffix("px")
    return found
