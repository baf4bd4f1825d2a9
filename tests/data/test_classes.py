"""Classes by name: what a user may type, and what is refused with which words."""

import subprocess
import sys

import pytest

from vqcli.data.classes import find_classes, imagenet, places, readable
from vqcli.errors import VqcliError

NAMES = [known.name for known in imagenet()]


def test_imagenets_classes():
    assert len(imagenet()) == len({known.wnid for known in imagenet()}) == 1000
    assert imagenet()[0] == ("n01440764", "tench")
    assert imagenet()[207] == ("n02099601", "golden retriever")
    assert imagenet()[999].wnid == "n15075141"
    assert [known.wnid for known in imagenet()] == sorted(known.wnid for known in imagenet())


def test_wordnet_ids_become_names_where_all_are_imagenets():
    assert readable(["n02099601", "n01440764"]) == ["golden retriever", "tench"]
    assert readable(("n02099601", "cat")) == ["n02099601", "cat"]
    assert readable(["cat", "dog"]) == ["cat", "dog"]
    assert readable([]) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("207", [207]), ("0", [0]), ("999", [999]), (" 7 ", [7]), ("007", [7]),
        ("0-3", [0, 1, 2, 3]), ("5-5", [5]), ("998-999", [998, 999]),
        ("golden retriever", [207]), ("Golden_Retriever", [207]), ("GOLDEN  retriever ", [207]),
        ("golden", [207]), ("goldfin", [11]), ("goldfis", [1]),
        ("shih tzu", [155]), ("jack-o'-lantern", [607]), ("hen", [8]), ("husky", [250]),
        ("great-white", [2]),
    ],
)  # fmt: skip
def test_numbers_ranges_and_names(text, found):
    assert find_classes(text, NAMES, 1000).numbers == found


def test_what_may_be_understood_otherwise_is_told():
    assert find_classes("Golden_Retriever", NAMES, 1000).remark == ""
    assert find_classes("golden", NAMES, 1000).remark == "'golden' is taken for golden retriever (207)"
    sorted_as_text = ["0", "1", "10", "2"]
    assert find_classes("2", sorted_as_text, 4) == (
        [2],
        "class 2 is number 2, '10'; the one called '2' is number 3",
    )
    assert find_classes("1", sorted_as_text, 4) == ([1], "")


@pytest.mark.parametrize("text", ["all", "ALL", " all "])
def test_all_is_every_class(text):
    assert find_classes(text, NAMES, 1000) == (list(range(1000)), "")
    assert find_classes(text, [], 3).numbers == [0, 1, 2]


def test_a_class_goes_by_its_words_and_by_the_name_of_its_folder():
    own = ["n01440764", "n02099601"]
    for text in ("n02099601", "golden retriever", "golden"):
        assert find_classes(text, own, 2).numbers == [1]
    assert find_classes("n02099601", NAMES, 1000).numbers == [207]
    assert find_classes("n02012849", [known.wnid for known in imagenet()], 1000).numbers == [134]
    assert find_classes("n02012849", ["n02012849", "cat"], 2).numbers == [0]


def test_a_class_of_one_list_in_another():
    assert places(["cat", "dog"], ["dog", "cow", "cat"]) == [2, 0]
    assert places(["Cat", "cow"], ["cat"]) == [0, None]
    assert places(["n02099601", "n01440764"], NAMES) == [207, 0]
    assert places(["golden retriever"], ["n01440764", "n02099601"]) == [1]
    assert places(["crane"], NAMES) == [None]
    assert places(["n02012849", "n03126707"], NAMES) == [134, 517]
    assert places(NAMES, NAMES) == places([known.wnid for known in imagenet()], NAMES) == list(range(1000))


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("1000", "class 1000 is out of range: the generator knows 0 to 999", "numbers from 0 to 999"),
        ("0-1000", "class 1000 is out of range: the generator knows 0 to 999", "or a name"),
        ("0-999999999999", "class 999999999999 is out of range", "or a name"),
        ("9-7", "9-7 is no range of classes", "give 7-9"),
        ("crane", "'crane' is the name of no single class: crane (134), crane (517)", "give its number"),
        ("maillot", "maillot (638), maillot (639)", "give its number"),
        ("Cardigan", "Cardigan (264), cardigan (474)", "give its number"),
        (
            "jack",
            "'jack' is the name of no single class: jack-o'-lantern (607), jackfruit (955)",
            "the whole",
        ),
        ("retriever", "flat-coated retriever (205), curly-coated retriever (206), ", "the whole name"),
        ("goldfisch", "there is no class 'goldfisch'", "did you mean goldfish (1)"),
        ("zzzz", "there is no class 'zzzz'", "give a number from 0 to 999, or a class's name"),
        ("", "there is no class ''", "give a number"),
        ("_", "there is no class '_'", "give a number"),
        ("1,2", "there is no class '1,2'", "may repeat"),
        ("9" * 5000, "there is no class", "give a number"),
    ],
)
def test_what_is_refused(text, message, hint):
    with pytest.raises(VqcliError) as refused:
        find_classes(text, NAMES, 1000)
    assert (message in str(refused.value), hint in refused.value.hint) == (True, True), refused.value.hint
    assert refused.value.reason == "class"


def test_at_most_five_candidates_are_named():
    names = [f"bird {i}" for i in range(9)]
    with pytest.raises(VqcliError) as refused:
        find_classes("bird", names, 9)
    assert str(refused.value).endswith(
        "bird 0 (0), bird 1 (1), bird 2 (2), bird 3 (3), bird 4 (4) and 4 more"
    )


def test_a_generator_without_names():
    assert find_classes("3", [], 10) == ([3], "")
    with pytest.raises(VqcliError, match="'cat' is no number, and the generator's classes have no names"):
        find_classes("cat", [], 10)


def test_neither_torch_nor_numpy():
    code = "import sys, vqcli.data.classes; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_a_number_below_zero_is_not_the_class_without_its_sign() -> None:
    with pytest.raises(VqcliError, match="no class '-1'"):
        find_classes("-1", ["0", "1", "2"], 3)
    assert find_classes("-1", ["-1", "1"], 2).numbers == [0]
    assert places(["-1", "x"], ["1", "x"]) == [None, 1]


def test_a_number_beyond_all_classes_may_be_what_one_is_called() -> None:
    found = find_classes("70000", ["3", "70000"], 2)
    assert found.numbers == [1]
    assert "so called, number 1" in found.remark
    with pytest.raises(VqcliError, match="out of range"):
        find_classes("70001", ["3", "70000"], 2)
