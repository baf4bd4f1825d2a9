"""What only a few modules may do, told from the source: read and list files, load weights, judge errors."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "vqcli"
READS = (
    r"open|os\.open|io\.open|(?!files\.).*\.(read_text|read_bytes)|np\.(load|fromfile|memmap)"
    r"|(.*\.)?(safe_open|load_file)"
)
PARSES = r"json\.loads?"
LOOKS = (
    r"(?!(files|disk)\.).*\.(exists|is_file|is_dir|glob|rglob|iterdir)"
    r"|os\.path\.(exists|lexists|isfile|isdir)|os\.(listdir|walk|fwalk)|glob\.i?glob"
)
"""What takes errors of the machine for absence: all of them, or some, or in some versions of Python."""
NEVER = (
    r"(pickle|marshal|dill|shelve)\..*|eval|exec|os\.(system|popen)|.*\.extractall|yaml\.(unsafe_load|full_load)"
    r"|torch\.load"
)
ALLOWED = {
    READS: {
        "files": "it is the one reader and writer",
        "data/location.py": "it reads at places of files that others made, and lists folders",
        "cli/streams.py": "the null device, in the place of streams that are closed",
        "cli/app.py": "the null device, in the place of a closed stdout",
        "cores.py": "/proc/stat, and quotas of containers",
        "jobs/doctor.py": "/proc/meminfo",
        "parts.py": "the package's own source",
        "data/classes.py": "the package's own table of names",
        "data/images/forms.py": "the package's own source",
        "recipes/__init__.py": "the package's own recipes",
        "data/tokens/latents.py": "a memory map of a file that files.open_regular has opened",
        "jobs/feature_shards.py": "memory maps of what this job has written and checked",
        "importers/pickles.py": "torch.load takes a file",
        "library/downloads/fetch.py": "a download, to be hashed as git does",
    },
    PARSES: {
        "files": "it is the one reader of JSON",
        "data/images": "fields of images: what is no JSON tells nothing",
        "data/classes.py": "the package's own table of names",
        "jobs/evaluation": "metadata of its own parts; a plan is brought into JSON's form",
    },
    LOOKS: {
        "files": "it is what asks the machine; in cleaning up, what it does not tell stays",
        "data": "of a Location, or of an entry of a folder that was listed",
        "plugins.py": "it is below files; what cannot be seen is no plugin",
        "recipes/__init__.py": "the package's own recipes",
        "jobs/doctor.py": "a report, in which what cannot be seen is not there",
        "cli/models.py": "a word in a table",
        "library/downloads/settings.py": "what is not there is told as what cannot be read",
    },
    NEVER: {"importers/pickles.py": "torch.load(weights_only=True), with stand-ins for what is known"},
}
"""Calls, and the modules or folders that may make them, each with its reason."""


@cache
def nodes() -> dict[Path, list[ast.AST]]:
    """Of every file, all that stands in it."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    return {path: [*ast.walk(ast.parse(text))] for path, text in texts.items()}


def name_of(node: ast.expr) -> str:
    """``a.b`` of a call ``a.b()``; what is no name is ``_``."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{name_of(value)}.{name}"
    return "_"


def calls(path: Path, pattern: str) -> Iterator[str]:
    for node in nodes()[path]:
        if isinstance(node, ast.Call) and re.fullmatch(pattern, name_of(node.func)):
            yield f"{path.relative_to(PACKAGE)}:{node.lineno} {name_of(node.func)}"


def handlers(path: Path) -> Iterator[ast.ExceptHandler]:
    return (node for node in nodes()[path] if isinstance(node, ast.ExceptHandler))


@pytest.mark.parametrize("pattern", ALLOWED, ids=["reads", "parses", "looks", "never"])
def test_calls_that_few_may_make(pattern: str) -> None:
    allowed = ALLOWED[pattern]
    found = {path: list(calls(path, pattern)) for path in nodes()}
    used = {place for place in allowed for path in nodes() if found[path] and is_in(path, place)}
    assert not [
        call for path in nodes() if not any(is_in(path, place) for place in allowed) for call in found[path]
    ]
    assert used == allowed.keys(), "these need no permission any more"


def is_in(path: Path, place: str) -> bool:
    return f"{path.relative_to(PACKAGE)}/".startswith(f"{place}/")


def test_no_error_of_the_machine_becomes_a_bad_image() -> None:
    """Who catches OSError and raises BadImage asks ``files.is_absent``, and lets all else through."""
    wrong = []
    for path in nodes():
        for handler in handlers(path):
            caught = ast.unparse(handler.type) if handler.type else "everything"
            body = "\n".join(map(ast.unparse, handler.body))
            if "OSError" in caught and "BadImage" in body and "is_absent" not in body:
                wrong.append(f"{path.relative_to(PACKAGE)}:{handler.lineno}")
    assert not wrong


def test_nothing_is_caught_without_being_named() -> None:
    bare = [
        f"{path}:{handler.lineno}" for path in nodes() for handler in handlers(path) if handler.type is None
    ]
    assert not bare


def test_no_shell_and_no_other_reader_of_yaml() -> None:
    wrong = []
    for path, found in nodes().items():
        for node in found:
            if isinstance(node, ast.Call):
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                shell = given.get("shell", "False") != "False"
                loader = name_of(node.func) == "yaml.load" and [*map(ast.unparse, node.args[1:])] != [
                    "_Loader"
                ]
                unsafe = name_of(node.func) == "torch.load" and given.get("weights_only") != "True"
                if shell or loader or unsafe:
                    wrong.append(f"{path}:{node.lineno}")
    assert not wrong
