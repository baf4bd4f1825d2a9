import pytest

from vqcli.data.images.labels import SPARSEST, SURE, numbered


def test_words_are_numbered_in_alphabetical_order():
    assert numbered(["dog", "cat", None, "dog"])[:2] == ([1, 0, None, 1], ["cat", "dog"])
    assert numbered(["dog"]).remark == ""


def test_numbers_are_themselves_and_it_is_told():
    found = numbered(["10", "2", "1"])
    assert found.labels == [10, 2, 1]
    assert found.classes == [str(i) for i in range(11)]
    assert "1 to 10" in found.remark
    assert numbered([3, 0, -1]) == ([3, 0, None], [], "")
    assert numbered(["007", "0"])[:2] == ([7, 0], ["0", "1", "2", "3", "4", "5", "6", "007"])


@pytest.mark.parametrize("nothing", [None, "", " ", "-1", -1])
def test_nothing_is_no_label(nothing):
    assert numbered([nothing, "cat"])[:2] == ([None, 0], ["cat"])
    assert numbered([nothing, 4]).labels == [None, 4]
    assert numbered([nothing]) == ([None], [], "")


def test_a_number_beside_words_is_a_word():
    found = numbered([3, "cat"])
    assert found[:2] == ([0, 1], ["3", "cat"])
    assert found.remark == "labels are numbers, and words such as cat: taken as names of 2 classes"


@pytest.mark.parametrize("numbers", [["0.5", "2"], ["-2", "5"]])
def test_numbers_that_are_no_class_numbers_are_names_which_is_told(numbers):
    assert numbered(numbers) == (
        [0, 1], numbers, "labels are numbers, below 0 or with a fraction: taken as names of 2 classes"
    )  # fmt: skip


def test_two_spellings_of_a_number_are_one_class_which_is_told():
    found = numbered(["001", "1", "01"])
    assert (found.labels, found.classes) == ([1, 1, 1], ["0", "1"])
    assert "(001 and 1 are one)" in found.remark


@pytest.mark.parametrize("kind", [int, str])
def test_numbers_of_a_catalogue_are_names(kind):
    found = numbered([kind(2_000_000_000), kind(7), None])
    assert found[:2] == ([1, 0, None], ["7", "2000000000"])
    assert "taken as names of 2 classes" in found.remark


def test_few_large_numbers_are_names_in_the_order_of_the_numbers():
    found = numbered(["2020", "2019", "902", "2019"])
    assert found[:2] == ([2, 1, 0, 1], ["902", "2019", "2020"])
    assert "up to 2020: taken as names" in found.remark
    assert numbered([2019, 2020]).labels == [2019, 2020]


def test_numbers_with_gaps_are_themselves_unless_nearly_all_are_missing():
    assert numbered(["7", str(SURE - 1)]).labels == [7, SURE - 1]
    assert numbered(["7", str(SURE)]).labels == [0, 1]
    some = [str(i * SPARSEST) for i in range(201)]
    assert numbered(some[:-1]).labels == [i * SPARSEST for i in range(200)]
    assert numbered([*some[:-2], "2010"]).labels == list(range(200))


def test_bytes_that_are_no_text_stand_as_escapes():
    assert numbered(["caf\udce9", "é"])[:2] == ([0, 1], ["caf\\udce9", "é"])
