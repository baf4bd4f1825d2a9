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
    assert numbered([3, "cat"])[:2] == ([0, 1], ["3", "cat"])


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
