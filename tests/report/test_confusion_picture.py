"""The confusion matrix as a picture: its cells are the counts, and names of strangers are only text."""

import re
from xml.etree import ElementTree

import numpy as np

from vqcli.report.confusion import confusion


def line(number, name, images, right, other=None, other_name=""):
    told = {"class": number, "name": name, "images": images, "accuracy": right / images}
    return told | {"mistaken_for": other, "mistaken_for_name": other_name}


def test_every_pair_is_a_cell():
    pairs = np.array([[0, 0, 9], [0, 2, 1], [3, 3, 5]])
    every = [line(0, "a<b", 10, 9, 2, "dog & cat"), line(3, "", 5, 5)]
    root = ElementTree.fromstring(confusion(pairs, every))
    titles = [each.text for each in root.iter() if each.tag.endswith("title")]
    assert titles == ["a<b taken for a<b: 9", "a<b taken for dog & cat: 1", "3 taken for 3: 5"]
    texts = [each.text for each in root.iter() if each.tag.endswith("text")]
    assert [text for text in texts if text.isdecimal()][:3] == ["9", "1", "5"]
    assert texts.count("a<b") == texts.count("dog & cat") == 2  # beside its row, and above its column


def test_many_classes_have_small_cells_without_names():
    pairs = np.array([[i, i, 4] for i in range(300)] + [[i, (7 * i + 3) % 300, 1] for i in range(300)])
    every = [line(i, f"class {i}", 5, 4, (7 * i + 3) % 300, "") for i in range(300)]
    text = confusion(pairs, every)
    assert not re.search(r"<text", text)
    assert len(ElementTree.fromstring(text)) == 602  # the ground, its white, and a cell a pair
