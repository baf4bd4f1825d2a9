"""What holds whatever the values are: what is written comes back, nothing is done twice or lost."""

import io
import itertools
import json
import tarfile
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from vqcli import files, yaml_text
from vqcli.cli.options import parse_size
from vqcli.cli.text import visible
from vqcli.data.holdout import holdout
from vqcli.data.images.archive import Damaged, members
from vqcli.data.loader import TrainPlan, batches_per_epoch, data_order, train_wishes
from vqcli.data.tokens.store import shard_done, shard_rows, token_type, write_shard
from vqcli.errors import VqcliError
from vqcli.jobs.decode import FileNames
from vqcli.library import references
from vqcli.report.evaluation import evaluation_page
from vqcli.training.recipe import steps_in

LOOKS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=6), x, max_size=4),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)
NAMES = st.text(st.characters(codec="utf-8") | st.sampled_from('/\\.<>"&=+-@ \x1b\n\u202e'), max_size=24)


@LOOKS
@given(OBJECTS)
def test_json_comes_back_as_it_was_written(tmp_path, value):
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value


@LOOKS
@given(OBJECTS.filter(lambda value: "seal" not in value), st.data())
def test_a_seal_holds_for_what_was_sealed_and_nothing_else(tmp_path, value, data):
    files.write_sealed(tmp_path / "a.json", value)
    written = (tmp_path / "a.json").read_bytes()
    assert files.read_sealed(tmp_path / "a.json") == value
    assert files.parse_sealed(json.dumps(json.loads(written)).encode(), "other spaces") == value
    other = data.draw(OBJECTS.filter(lambda other: "seal" not in other))
    assume(json.dumps(other, sort_keys=True) != json.dumps(value, sort_keys=True))
    seal = json.loads(written)["seal"]
    with pytest.raises(VqcliError, match="edited or damaged"):
        files.parse_sealed(json.dumps(other | {"seal": seal}).encode(), "it")


@LOOKS
@given(OBJECTS.filter(lambda value: "seal" not in value), st.integers(0), st.integers(0, 7))
def test_no_bit_of_a_sealed_file_flips_unnoticed(tmp_path, value, at, bit):
    files.write_sealed(tmp_path / "a.json", value)
    data = bytearray((tmp_path / "a.json").read_bytes())
    data[at % len(data)] ^= 1 << bit
    try:
        found = files.parse_sealed(bytes(data), "it")
    except VqcliError:
        return
    # white space, the case of a \u escape; or the name of the seal itself, which is then a key more
    assert found == value or set(found) - set(value)


@LOOKS
@given(st.lists(OBJECTS, min_size=1, max_size=4), st.integers(0))
def test_of_a_log_that_was_cut_the_whole_lines_are_left(tmp_path, lines, cut):
    path = tmp_path / "m.jsonl"
    path.unlink(missing_ok=True)
    for line in lines:
        files.append_line(path, line)
    data = path.read_bytes()
    assert list(files.read_lines(path)) == lines
    path.write_bytes(data[: cut % len(data)])
    assert list(files.read_lines(path)) == lines[: data[: cut % len(data)].count(b"\n")]


@LOOKS
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=6), VALUES, max_size=4
    )
)
def test_yaml_comes_back_as_it_was_written(value):
    assume(all(c.isprintable() for c in json.dumps(value, ensure_ascii=False)))
    assert yaml_text.parse_yaml(yaml_text.dump_yaml(value), "it") == value


@LOOKS
@given(NAMES)
def test_quoted_text_is_that_text_in_yaml(text):
    assert yaml_text.parse_yaml(f"a: {yaml_text.quoted(text)}", "it") == {"a": text}


@LOOKS
@given(st.integers(1, 99_999), st.integers(1, 99_999))
def test_sizes(height, width):
    assert parse_size(f"{height}x{width}") == (height, width)
    assert parse_size(f"{height}") == (height, height)


@LOOKS
@given(st.integers(0, 10**6), st.integers(1, 10**5))
def test_durations(number, each):
    assert steps_in(f"{number} epochs", each) == number * each
    assert steps_in(f"{number} steps", each) == steps_in(number, each) == number


@LOOKS
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4), st.integers(0, 30), st.integers(0, 9))
def test_an_epoch_of_all_processes_has_nothing_twice(n, size, world, start, seed):
    plans = [TrainPlan(seed, size, rank, world) for rank in range(world)]
    each = batches_per_epoch(n, plans[0])
    assume(each)
    indices = np.arange(100, 100 + n)
    whole = [list(itertools.islice(train_wishes(indices, plan, 0), 3 * each)) for plan in plans]
    for epoch in range(3):
        batches = [batch for rank in whole for at, batch in rank if at == epoch]
        seen = Counter(np.concatenate(batches).tolist())
        assert len(batches) == each * world
        assert set(seen.values()) == {1}
        assert len(seen) == each * world * size
        assert n - len(seen) < world * size  # what does not fill a batch of every process
    for plan, rank in zip(plans, whole):
        later = itertools.islice(train_wishes(indices, plan, start % each), each)
        for (epoch, batch), (other, same) in zip(rank[start % each :], later):
            assert epoch == other
            assert (batch == same).all()
    assert sorted(data_order(seed, start, n).tolist()) == list(range(n))


@LOOKS
@given(st.sets(st.text(max_size=6), max_size=80), st.none() | st.floats(0, 0.9))
def test_an_image_is_trained_on_or_held_out(names, fraction):
    keys = sorted(names)
    source = type("Keyed", (), {"__len__": lambda self: len(keys), "key": lambda self, i: keys[i]})()
    training, held = holdout(source, fraction)
    assert sorted([*training.tolist(), *held.tolist()]) == list(range(len(keys)))
    if len(keys) > 1 and fraction != 0:
        assert len(training)
        assert len(held)


@LOOKS
@given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 1 << 20))
def test_every_shard_is_one_processs_and_is_done_once(shards, processes, done):
    from vqcli.jobs.sharded import Engine

    made: list[int] = []

    class Made:
        what, unit, together = "it", "images", False
        size = staticmethod(lambda k: 1)
        effort = staticmethod(len)
        done = staticmethod(lambda k: bool(bits >> k & 1))
        do = staticmethod(lambda some, progress: made.extend(some))

    bits, progress = done, SimpleNamespace(start=lambda *_: None)
    for rank in range(processes):
        engine = SimpleNamespace(processes=processes, rank=rank, _failed=None)
        engine._share = lambda *asked, engine=engine: Engine._share(engine, *asked)
        work = Made()
        work.shards = shards
        Engine._watched(engine, work, progress)
    assert sorted(made) == [k for k in range(shards) if not done >> k & 1]


@LOOKS
@given(st.integers(1, 1 << 40))
def test_every_token_fits_its_type(size):
    assert np.iinfo(token_type(size)).max >= size - 1
    assert size <= 256 or np.iinfo(token_type(size)).max < (size - 1) ** 2


@LOOKS
@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), max_size=5), st.integers(1, 1 << 20), st.data()
)
def test_tokens_come_back_as_they_were_written(tmp_path, grids, size, data):
    token = st.integers(0, size - 1)
    rows = [np.array(data.draw(st.lists(token, min_size=h * w, max_size=h * w)), np.int64) for h, w in grids]
    lines = [{"status": "ok", "key": f"é{i}", "label": None, "grid": [grid]} for i, grid in enumerate(grids)]
    lines.insert(len(lines) // 2, {"status": "rejected", "key": "x", "reason": "damaged"})
    write_shard(tmp_path, 3, lines, rows, size)
    found = list(shard_rows(tmp_path, 3))
    assert [row.ids.tolist() for row in found] == [row.tolist() for row in rows]
    assert [row.grid for row in found] == [(grid,) for grid in grids]
    lines_file = tmp_path / "tokens-00003.jsonl"
    damaged = bytearray(lines_file.read_bytes())
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    lines_file.write_bytes(damaged)
    with pytest.raises(VqcliError, match="missing or damaged"):
        shard_done(tmp_path, 3)


@LOOKS
@given(st.dictionaries(NAMES.filter(bool), st.lists(st.floats(width=32), max_size=5), max_size=4))
def test_tensors_come_back_as_they_were_written(tmp_path, values):
    assume("__metadata__" not in values)
    tensors = {name: torch.tensor(each) for name, each in values.items()}
    files.write_tensors(tmp_path / "a.safetensors", tensors)
    found = files.load_tensors(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    assert all(found[name].numpy().tobytes() == tensors[name].numpy().tobytes() for name in tensors)


@LOOKS
@given(
    st.dictionaries(
        st.from_regex(r"[a-zé]{1,9}(/[a-z]{60,90}){0,2}\.png", fullmatch=True),
        st.binary(max_size=600),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([0, 1, 2]),
    st.integers(0),
)
def test_a_tar_is_read_whole_or_not_at_all(contents, form, cut):
    file = io.BytesIO()
    try:
        with tarfile.open(fileobj=file, mode="w", format=form) as archive:
            for name, data in contents.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    except ValueError:
        assume(False)  # the old form has no names as long
    whole = file.getvalue()
    read = {
        member.name: whole[member.offset : member.offset + member.size]
        for member in members(io.BytesIO(whole))
    }
    assert read == contents
    end = max(member.offset + -(-member.size // 512) * 512 for member in members(io.BytesIO(whole)))
    with pytest.raises(Damaged):
        list(members(io.BytesIO(whole[: cut % (end + 1024)])))


@LOOKS
@given(
    st.from_regex(references.NAME, fullmatch=True),
    st.from_regex(references.NAME, fullmatch=True),
    st.just("") | st.from_regex(references.NAME, fullmatch=True),
    st.just("") | st.just("a b/ü.pt"),
)
def test_references(owner, name, revision, file):
    text = f"{owner}/{name}" + (f"@{revision}" if revision else "") + (f"/{file}" if file else "")
    try:
        found = references.parse(text)
    except VqcliError:
        assert "--" in text or ".." in text or name.endswith(".git")
    else:
        assert (found.repository, found.revision, found.file) == (f"{owner}/{name}", revision or "main", file)


@LOOKS
@given(st.lists(NAMES, max_size=6))
def test_paths_of_images_are_harmless_and_no_two_are_one(names):
    name = FileNames()
    paths = [Path(name(key)) for key in names + names]
    assert len({str(path).casefold() for path in paths}) == len(paths)
    assert not any(path.is_absolute() or {".", ".."} & set(path.parts) for path in paths)
    assert all(str(path).isprintable() and len(str(path).encode()) < 4000 for path in paths)


class _Active(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))


@LOOKS
@given(NAMES.filter(bool))
@example("<b onclick=x>")
@example('" onerror="x')
def test_a_name_is_never_active(name):
    page, plain = (evaluation_page(each, [(each, each)], {each: each}, each) for each in (name, "x"))
    assert _Active(page).found == _Active(plain).found
    shown = visible(name)
    assert visible(shown) == shown
    assert not any(c < " " or c in "\x7f\u202e" for c in shown)


@LOOKS
@given(st.binary(max_size=40), st.binary(max_size=40), st.booleans())
def test_a_file_is_the_old_one_or_the_new_one(tmp_path, old, new, fails):
    path = tmp_path / "folder" / "a"
    files.write_bytes(path, old)
    try:
        with files.writing(path) as file:
            file.write(new)
            assert path.read_bytes() == old
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert path.read_bytes() == (old if fails else new)
    assert [each.name for each in path.parent.iterdir()] == ["a"]


@LOOKS
@given(
    st.sets(st.from_regex("[a-c]{1,3}", fullmatch=True)),
    st.sets(st.from_regex("[a-c]{1,3}", fullmatch=True)),
    st.booleans(),
)
def test_a_folder_is_the_old_one_or_the_new_one(tmp_path, old, new, fails):
    path = tmp_path / "folder"
    with files.writing_folder(path) as folder:
        for name in old:
            (folder / name).write_text(name)
    try:
        with files.writing_folder(path) as folder:
            for name in new:
                (folder / name).write_text(name)
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert {each.name for each in path.iterdir()} == (old if fails else new) | {"manifest.json"}
    assert files.verified(path)
    assert not [each for each in tmp_path.iterdir() if each.name.startswith(files.TEMPORARY)]
