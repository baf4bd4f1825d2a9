from typing import Literal

import pytest
from pydantic import Field

from vqcli.config import PartConfig, leaves, parse
from vqcli.errors import VqcliError
from vqcli.training.recipe import read_recipe
from vqcli.yaml_text import dump_yaml, override, parse_yaml, quoted, read_yaml


class Inner(PartConfig):
    depth: int = 1


class Sized(PartConfig):
    """A family with a dial."""

    DIAL = "bridge"
    SIZES = {"S/2": {"hidden": 64, "patch": 2}, "L/4": {"hidden": 256, "patch": 4}}
    hidden: int = 1
    patch: int = Field(1, ge=1)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1.5", 1.5),
        ("-3", -3),
        ("007", "007"),
        ("yes", "yes"),
        ("NO", "NO"),
        ("12:30:00", "12:30:00"),
        ("2026-01-01", "2026-01-01"),
        ("true", True),
        ("null", None),
        ("[0.9, 0.95]", [0.9, 0.95]),
        ("40 epochs", "40 epochs"),
        ("", None),
    ],
)
def test_yaml_means_what_it_says(text, value):
    assert parse_yaml(text, "x") == value
    assert type(parse_yaml(text, "x")) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "line 2: key 'a' stands twice"),
        ("a: &x 1\nb: *x", "aliases"),
        ("a: !!python/object/apply:os.system ['true']", "line 1"),
        ("a: [1", "line"),
        ("[" * 5000, "nested"),
        ("a" * (1 << 20) + "b", "larger"),
    ],
)
def test_yaml_that_is_refused(text, said):
    with pytest.raises(VqcliError, match=said):
        parse_yaml(text, "recipe.yaml")


def test_recipe_file_must_hold_keys(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("- 1")
    with pytest.raises(VqcliError, match="holds no keys"):
        read_yaml(path)
    with pytest.raises(VqcliError, match="does not exist"):
        read_yaml(tmp_path / "missing.yaml")


def test_override_reaches_in_and_leaves_the_original():
    raw = {"a": {"b": 1}, "c": 2}
    assert override(raw, ["a.b=3", "d.e.f=1e-3"]) == {"a": {"b": 3}, "c": 2, "d": {"e": {"f": 0.001}}}
    assert raw == {"a": {"b": 1}, "c": 2}
    with pytest.raises(VqcliError, match="'c' is a value"):
        override(raw, ["c.x=1"])
    with pytest.raises(VqcliError, match="not of the form"):
        override(raw, ["c"])


def test_dial_stands_for_fields_and_yields_to_them():
    sized = parse(Sized, {"bridge": "L/4", "patch": 8}, "x")
    assert (sized.hidden, sized.patch) == (256, 8)
    assert sized.model_dump() == {"hidden": 256, "patch": 8, "inner": {"depth": 1}}
    with pytest.raises(VqcliError, match=r"did you mean 'L/4'\?"):
        parse(Sized, {"bridge": "L/5"}, "x")


def test_a_dial_that_is_set_turns_what_was_resolved():
    resolved = parse(Sized, {"bridge": "L/4", "patch": 8}, "x").model_dump()
    sized = parse(Sized, override(resolved, ["bridge=S/2"]), "x")
    assert (sized.hidden, sized.patch) == (64, 2)
    sized = parse(Sized, override(resolved, ["bridge=S/2", "patch=16"]), "x")
    assert (sized.hidden, sized.patch) == (64, 16)


def test_what_is_written_reads_back():
    value = {"a": "1e5", "b": 1e-05, "c": "no", "d": None, "e": [True, "true", 3, "3"], "f": "*.png", "g": ""}
    assert parse_yaml(dump_yaml(value), "x") == value
    assert parse_yaml(quoted("1e5"), "x") == "1e5"


def test_unknown_keys_name_the_nearest_known_one():
    with pytest.raises(VqcliError, match="x: unknown key 'brigde'") as e:
        parse(Sized, {"brigde": "L/4"}, "x")
    assert e.value.hint == "did you mean 'bridge'?"
    with pytest.raises(VqcliError, match=r"unknown key 'inner.dept'") as e:
        parse(Sized, {"inner": {"dept": 1}}, "x")
    assert e.value.hint == "did you mean 'depth'?"
    with pytest.raises(VqcliError, match=r"x: patch must be at least 1, not 0"):
        parse(Sized, {"patch": 0}, "x")


class Oven(PartConfig):
    """Fields of every type that parts have."""

    kind: Literal["gas", "electric"] = "gas"
    plates: Literal[2, 4] = 4
    heat: float = Field(180.0, gt=0, lt=300)
    clock: int = Field(0, ge=0, le=12)
    step: int = Field(4, multiple_of=4)
    fan: bool = False
    maker: str | None = Field(None, min_length=2, pattern="[A-Z].*")
    racks: tuple[int, ...] = Field((1,), min_length=1)
    sides: tuple[float, float] = (1.0, 1.0)
    size: int | tuple[int, int] = 60
    time: int | str = "1 hour"
    inner: Inner = Inner()
    light: Inner | None = None


WRONG = [
    ({"kind": "gsa"}, "kind must be 'gas' or 'electric', not 'gsa'", "did you mean 'gas'?"),
    ({"kind": 3}, "kind must be 'gas' or 'electric', not 3", ""),
    ({"plates": 3}, "plates must be 2 or 4, not 3", ""),
    ({"heat": 0}, "heat must be greater than 0, not 0", ""),
    ({"heat": 300.5}, "heat must be less than 300, not 300.5", ""),
    ({"heat": [180]}, "heat must be a number, not [180]", ""),
    ({"heat": "hot"}, "heat must be a number, not 'hot'", ""),
    ({"clock": -1}, "clock must be at least 0, not -1", ""),
    ({"clock": 13}, "clock must be at most 12, not 13", ""),
    ({"clock": 1.5}, "clock must be a whole number, not 1.5", ""),
    ({"clock": None}, "clock must be a whole number, not null", ""),
    ({"clock": list(range(99))}, "clock must be a whole number, not a list", ""),
    ({"step": 6}, "step must be a multiple of 4, not 6", ""),
    ({"fan": "maybe"}, "fan must be true or false, not 'maybe'", ""),
    ({"maker": 3}, "maker must be text, not 3", ""),
    ({"maker": "A"}, "maker must be text of 2 characters or more, not 'A'", ""),
    ({"maker": "acme"}, "maker must be text of the form [A-Z].*, not 'acme'", ""),
    ({"racks": 3}, "racks must be a list, not 3", ""),
    ({"racks": []}, "racks must be of length 1 or more, not []", ""),
    ({"racks": [1, "x"]}, "racks.1 must be a whole number, not 'x'", ""),
    ({"sides": [1]}, "sides must be of greater length, not [1]", ""),
    ({"sides": [1, 2, 3]}, "sides must be of length 2 or less, not [1, 2, 3]", ""),
    ({"size": "large"}, "size must be a whole number or a list, not 'large'", ""),
    ({"size": [1, "x"]}, "size.1 must be a whole number, not 'x'", ""),
    ({"size": [1]}, "size must be of greater length, not [1]", ""),
    ({"time": [1]}, "time must be a whole number or text, not [1]", ""),
    ({"inner": 3}, "inner must be a section of keys, not 3", ""),
    ({"inner": {"depth": "x"}}, "inner.depth must be a whole number, not 'x'", ""),
    ({"light": {"depht": 1}}, "unknown key 'light.depht'", "did you mean 'depth'?"),
    ({"hat": 1}, "unknown key 'hat'", "did you mean 'heat'?"),
    ({3: 1}, "3 must be text, not 3", ""),
]


@pytest.mark.parametrize(("raw", "said", "hint"), WRONG, ids=lambda each: str(each)[:30])
def test_wrong_values_are_told_in_our_words(raw, said, hint):
    with pytest.raises(VqcliError) as e:
        parse(Oven, raw, "oven.yaml", hint="see the manual")
    assert (str(e.value), e.value.hint) == (f"oven.yaml: {said}", hint or "see the manual")
    assert e.value.reason == "config"
    assert not any(word in str(e.value) for word in ("Input", "pydantic", "https://", "valid"))


def test_what_must_be_given_and_whole_sections():
    class Needs(PartConfig):
        flour: int

    for raw, said in (({}, "x: flour must be given"), ([1], "x: must be a section of keys, not [1]")):
        with pytest.raises(VqcliError) as e:
            parse(Needs, raw, "x")
        assert str(e.value) == said


def test_text_that_is_no_yaml_and_a_dial_that_is_no_name() -> None:
    with pytest.raises(VqcliError, match="special characters are not allowed"):
        parse_yaml("a: \x00", "my.yaml")
    for dial in ("[a]", "{a: b}"):
        with pytest.raises(VqcliError, match="unknown size"):
            read_recipe("demo", [f"tokenizer.network={dial}"])
    with pytest.raises(VqcliError, match="seed must be less than 4294967296"):
        read_recipe("demo", ["seed=4294967296"])


def test_leaves_have_dotted_keys():
    nested = {"seed": 0, "data": {"size": [8, 8], "own": {"a": None}}, "losses": {}}
    assert dict(leaves(nested)) == {"seed": 0, "data.size": [8, 8], "data.own.a": None}
