import ast
import re
from pathlib import Path

import pytest

from vqcli.errors import REASONS, REJECTIONS, BadImage, VqcliError

ROOT = Path(__file__).parents[1]
SOURCES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "vqcli").rglob("*.py")}


def given(text):
    """Words that a source gives as reasons."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg == "reason":
                found = (getattr(each, "value", None) for each in ast.walk(keyword.value))
                yield from (word for word in found if isinstance(word, str))
        if getattr(node.func, "id", "") == "BadImage" and isinstance(node.args[1], ast.Constant):
            yield node.args[1].value


def test_every_reason_is_on_the_list():
    words = {word for text in SOURCES.values() for word in given(text)}
    assert words <= REASONS.keys() | REJECTIONS.keys()
    with pytest.raises(ValueError, match="unknown reason 'exist'; did you mean 'exists'"):
        VqcliError("no", reason="exist")
    with pytest.raises(ValueError, match="unknown reason 'config'"):
        BadImage("a.png", "config")


@pytest.mark.parametrize("word", sorted(REASONS.keys() | REJECTIONS.keys()))
def test_no_word_without_use(word):
    assert any(f'"{word}"' in text for path, text in SOURCES.items() if path.name != "errors.py") or (
        VqcliError("no").reason == word
    )


def test_no_meaning_twice():
    for words in (REASONS, REJECTIONS):
        assert len(set(words.values())) == len(words)
        assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", word) for word in words)


def test_the_page_shows_the_lists():
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+)` \| (.+) \|$", text, re.MULTILINE)
    assert rows == [*REASONS.items(), *REJECTIONS.items()]
