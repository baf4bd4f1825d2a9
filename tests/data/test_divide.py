from vqcli.data.config import DataConfig
from vqcli.data.divide import divide


def keys(source, indices):
    return {source.key(i) for i in indices}


def test_splits_are_told_apart_however_they_are_spelt():
    for split, held in (
        (None, "validation"),
        ("train", "validation"),
        ("val", "test"),
        ("validation", "test"),
    ):
        images = divide(DataConfig(source="demo:5", size=16, split=split))
        training = keys(images.source, images.training)
        held_out = keys(images.held_out_source, images.held_out)
        assert not training & held_out
        assert {key.split("/")[1] for key in held_out} == {held}
        assert len(training) == len(held_out) == 5


def test_without_splits_some_are_held_out(tmp_path):
    from tests.data.test_sources import png

    for i in range(60):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    images = divide(DataConfig(source=str(tmp_path), size=16, holdout=0.2))
    assert images.source is images.held_out_source
    assert sorted([*images.training, *images.held_out]) == list(range(60))
    assert 0 < len(images.held_out) < 30
