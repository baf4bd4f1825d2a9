import pytest
from pydantic import Field

from vqcli.config import PartConfig, dump_yaml, override, parse, parse_yaml, quoted, read_yaml
from vqcli.errors import VqcliError


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
    with pytest.raises(VqcliError, match="cannot read"):
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
    with pytest.raises(VqcliError, match=r"x: patch: greater than or equal to 1, not 0"):
        parse(Sized, {"patch": 0}, "x")
