from vqcli.data.config import DataConfig
from vqcli.data.divide import divide
from vqcli.data.images.open import open_source
from vqcli.data.location import Disk


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


def test_a_folder_with_splits_is_listed_once(tmp_path, monkeypatch):
    from tests.data.test_sources import png

    for name in ("train/cat/1", "train/dog/2", "train/3", "val/dog/4", "val/5", "pred/6"):
        (tmp_path / f"{name}.png").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / f"{name}.png").write_bytes(png(1))
    config = DataConfig(source=str(tmp_path), size=16)
    apart = [open_source(config.source, config.reading(split)) for split in ("train", "validation")]
    times, listing = [], Disk.listing
    monkeypatch.setattr(Disk, "listing", lambda *given: times.append(1) or listing(*given))
    images = divide(config)
    assert len(times) == 1
    for part, own in zip((images.source, images.held_out_source), apart):
        assert [part.key(i) for i in range(len(part))] == [own.key(i) for i in range(len(own))]
        assert [part.label(i) for i in range(len(part))] == [own.label(i) for i in range(len(own))]
        assert (part.told, part.classes, part.reading) == (own.told, own.classes, own.reading)
        assert [part[i].key for i in range(len(part))] == [own.key(i) for i in range(len(own))]
    assert len(images.training) == 3
    assert len(images.held_out) == 2
