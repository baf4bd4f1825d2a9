"""How vqcli is broken on purpose, and what must notice it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """Sources with a fault."""

    name: str
    catcher: str
    """Arguments of pytest, or ``part`` and those of ``python -m tests.reliability``."""
    changes: tuple[tuple[str, str, str], ...]
    """A file below ``vqcli/``, a text that it has once, and what stands there instead."""


def _mutant(name: str, catcher: str, *changes: str) -> Mutant:
    return Mutant(name, catcher, tuple(zip(changes[::3], changes[1::3], changes[2::3])))


MUTANTS = (
    _mutant(
        "no-fsync-of-files",
        "tests/test_durable.py",
        "files/writing.py",
        "            os.fsync(file.fileno())\n",
        "",
    ),
    _mutant(
        "no-fsync-of-names",
        "tests/test_durable.py",
        "files/writing.py",
        "        sync_folder(path.parent)\n",
        "",
    ),
    _mutant(
        "no-fsync-of-folders",
        "tests/test_durable.py",
        "files/folders.py",
        "    sync_folder(path.parent)\n",
        "",
    ),
    _mutant(
        "fsync-after-the-rename",
        "tests/test_durable.py",
        "files/writing.py",
        "            os.fsync(file.fileno())\n            temporary.replace(path)\n",
        "            temporary.replace(path)\n            os.fsync(file.fileno())\n",
    ),
    _mutant(
        "manifest-after-the-rename",
        "tests/test_durable.py",
        "files/folders.py",
        "            if listed:\n"
        '                write_sealed(temporary / MANIFEST, {"files": manifest(temporary)})\n'
        "            _put(temporary, path)\n",
        "            _put(temporary, path)\n            if listed:\n"
        '                write_sealed(path / MANIFEST, {"files": manifest(path)})\n',
    ),
    _mutant(
        "written-in-place",
        "tests/test_properties.py -k old_one",
        "files/writing.py",
        "    temporary = beside(path)\n",
        "    temporary = path\n",
        "files/writing.py",
        'open(temporary, "xb")',
        'open(temporary, "wb")',
    ),
    _mutant(
        "exchange-by-two-renames",
        "tests/test_files.py -k without_a_moment",
        "files/folders.py",
        "    elif not _exchanged(temporary, path):\n",
        "    else:\n",
    ),
    _mutant(
        "seal-not-asked",
        "tests/test_properties.py -k seal",
        "files/seals.py",
        "sealed(value)[SEAL] != value[SEAL]",
        "False",
    ),
    _mutant(
        "shards-not-hashed",
        "tests/test_properties.py -k tokens_come_back",
        "data/tokens/store.py",
        "if seal != _seal(shard, text, tokens, of):",
        "if not seal:",
    ),
    _mutant(
        "folders-not-hashed",
        "tests/test_files.py",
        "files/folders.py",
        "if listed.get(n) != found.get(n)",
        "if (n in listed) != (n in found)",
    ),
    _mutant(
        "old-checkpoint-deleted-first",
        "tests/test_durable.py",
        "training/run.py",
        "        with files.writing_folder(folder) as unfinished:\n",
        "        for old in checkpoints(self.folder)[: 1 - keep or None]:\n"
        "            files.remove_folder(old)\n"
        "        with files.writing_folder(folder) as unfinished:\n",
    ),
    _mutant(
        "tar-without-end",
        "tests/test_properties.py -k tar",
        "data/images/archive.py",
        "    if len(second) < BLOCK or any(second):\n",
        "    if False:\n",
    ),
    _mutant(
        "markup-in-pages",
        "tests/test_properties.py -k active",
        "escapes.py",
        "    return escape(visible(text))\n",
        "    return visible(text)\n",
    ),
    _mutant(
        "checkpoint-not-read-back",
        "tests/test_durable.py -k checkpoint",
        "training/run.py",
        "if not files.verified(folder, again=True):",
        "if False:",
    ),
    _mutant(
        "no-lock",
        "tests/test_files.py",
        "files/locks.py",
        "LOCK_EX | fcntl.LOCK_NB",
        "LOCK_UN",
    ),
    _mutant(
        "zip-without-checksums",
        "tests/importers/test_containers.py",
        "importers/pickles.py",
        "changed = archive.testzip()",
        "changed = None",
    ),
    _mutant(
        "tensors-of-any-size",
        "tests/importers/test_containers.py",
        "importers/containers.py",
        "or claimed > 2 * size",
        "",
    ),
    _mutant(
        "download-not-hashed",
        "tests/library/test_network_downloads.py",
        "library/downloads/web.py",
        "if not digest.startswith(file.sha256):",
        "if not digest:",
    ),
    _mutant(
        "machine-errors-are-bad-images",
        "tests/data/test_machine_errors.py -k keeps_failing",
        "data/decode.py",
        "        raise files.unread(place, e) from e\n",
        '        raise BadImage(key, "missing", str(e)) from e\n',
    ),
    _mutant(
        "no-second-try",
        "tests/test_files.py -k tried_again",
        "files/refused.py",
        "WAITS = (0.05, 0.4)",
        "WAITS = ()",
    ),
    _mutant(
        "absent-where-unreadable",
        "tests/test_files.py -k tried_again",
        "files/refused.py",
        "errno.ENAMETOOLONG})",
        "errno.ENAMETOOLONG, errno.EACCES, errno.EIO, errno.EMFILE})",
    ),
    _mutant(
        "an-old-result-deleted-first",
        "part faults --only import-force/ --number 40",
        "files/folders.py",
        "    temporary, handle = beside(path), None\n",
        "    temporary, handle = beside(path), None\n    remove(path)\n",
    ),
    _mutant(
        "torn-files-taken-for-whole",
        "part faults --only encode/ --number 60",
        "files/writing.py",
        "    temporary = beside(path)\n",
        '    temporary = path if path.name == "t.npy" else beside(path)\n',  # prune would meet its own
        "files/writing.py",
        'open(temporary, "xb")',
        'open(temporary, "wb")',
    ),
    _mutant(
        "weights-not-hashed",
        "part flips --only model-decode/model/ --number 12",
        "checkpoint/weights.py",
        "    files.verify_listed(path)\n",
        "",
    ),
    _mutant(
        "what-is-listed-not-hashed",
        "part flips --only gen-tokens/gen/ --number 24",
        "files/hashes.py",
        'listed["sha256"] == hash_of(path)',
        'bool(listed["sha256"])',
    ),
    _mutant(
        "hash-remembered-for-ever",
        "tests/test_files.py -k remembered",
        "files/hashes.py",
        'if known.get("state") == state:',
        "if known:",
    ),
    _mutant(
        "links-followed",
        "tests/hub/test_push.py -k stays_here",
        "files/reading.py",
        "os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC",
        "os.O_RDONLY | os.O_CLOEXEC",
    ),
    _mutant(
        "pipes-opened",
        "tests/test_files.py -k pipe",
        "files/reading.py",
        "        if not stat.S_ISREG(mode):\n",
        "        if False:\n",
    ),
    _mutant(
        "formulas-in-tables",
        "tests/test_escapes.py",
        "escapes.py",
        """f"'{text}" if text.startswith(_FORMULA) else text""",
        "text",
    ),
    _mutant(
        "sizes-believed",
        "part bombs --only pickle/bytearray --number 2",
        "bounds.py",
        "    return max(MEMORY, TIMES * size)\n",
        "    return 1 << 40\n",
    ),
)
