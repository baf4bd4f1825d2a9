"""A generator's folder that is harmed is refused with a sentence: the key, what is allowed, what is there."""

import json

import pytest

from tests.models import make_generator, make_model
from tests.seals import put
from vqcli.checkpoint.generator import load_generator
from vqcli.errors import VqcliError

HARM = {
    "a value": ({"width": "x"}, "width must be a whole number, not 'x'"),
    "inside a list": ({"grid": [[4, "a"]]}, r"grid\.0\.1 must be a whole number, not 'a'"),
    "all of it": (3, "tokenizer must be a section of keys, not 3"),
}


@pytest.mark.parametrize("harm", HARM)
def test_what_a_generator_must_know_of_its_tokenizer(tmp_path, harm):
    folder = make_generator(tmp_path / "gpt", make_model(tmp_path / "vq"))
    change, said = HARM[harm]
    config = json.loads((folder / "config.json").read_text())
    config["tokenizer"] = config["tokenizer"] | change if isinstance(change, dict) else change
    put(folder / "config.json", config)
    with pytest.raises(VqcliError, match=rf"config\.json is damaged: {said}") as refused:
        load_generator(folder)
    assert refused.value.reason == "damaged"
