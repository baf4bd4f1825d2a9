"""Names and texts of strangers, neutral wherever they are written: one function for each place.

Names of files, classes and parts, and what foreign files tell, are data. Every writer uses
the function of its kind of place: ``visible`` lines for people, ``html`` pages and SVG, ``markdown`` and
``fenced`` model cards, ``cell`` CSV. JSON and YAML escape by themselves.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e0fff]"
)
_MARKUP = re.compile(r"[\\`*\[\]|~#@$<>&]|^[-+=]|:(?=//)|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula."""


def visible(text: object) -> str:
    """Text for one line: control, direction, invisible and undecodable characters as escapes."""
    return _UNSEEN.sub(lambda match: match[0].encode("unicode_escape").decode(), str(text))


def html(text: object) -> str:
    """Text of a page or a picture, or the value of an attribute in quotes."""
    from html import escape  # a page is rarely what is written

    return escape(visible(text))


def markdown(text: object) -> str:
    """Text within a line of a model card, or within a ``code`` span of it: no markup, no link, no HTML."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", visible(text))


def fenced(text: str, language: str) -> str:
    """Text of several lines as a block of code in a model card, whose fence is none of its lines."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+|$", text)))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


def cell(text: str) -> str:
    """Text for a cell of CSV: with a quotation mark before what would be taken for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text
