"""The one place that reads and writes files: what is written appears whole or not at all, what is read is
bounded and explained.

Written beside the final name, flushed to the disk, renamed: a reader never sees half a file, whenever its
writer died. Folders are replaced by exchange: there is no moment without one.
"""

from vqcli.bounds import LISTS
from vqcli.files.cleaning import clean, clean_beside
from vqcli.files.folders import (
    check_free,
    damaged_file,
    manifest,
    remove_folder,
    verified,
    writing_folder,
)
from vqcli.files.hashes import cache_folder, hash_of, is_there, read_listed, sha256, verify_listed
from vqcli.files.lists import Lines, LongList
from vqcli.files.locks import claimed, held, locked
from vqcli.files.memory import used, within
from vqcli.files.pictures import ImageWriter, whole_image, write_image
from vqcli.files.reading import (
    open_inside,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_lines,
    read_text,
)
from vqcli.files.refused import is_absent, os_error, passing_over, patiently, unread, unwritten
from vqcli.files.seals import (
    parse_sealed,
    read_sealed,
    read_sealed_lists,
    seal,
    seal_of,
    sealed,
    text_edited,
    write_lists,
    write_sealed,
    write_sealed_text,
)
from vqcli.files.there import below, children, exists, is_file, is_folder
from vqcli.files.weights import (
    check_seal,
    load_sealed,
    load_tensors,
    read_header,
    seal_tensors,
    tensors,
    write_tensors,
)
from vqcli.files.writing import (
    TEMPORARY,
    append_line,
    line_of,
    placed,
    resolved,
    write_bytes,
    write_copy,
    write_json,
    write_text,
    writing,
)

__all__ = [
    "LISTS",
    "TEMPORARY",
    "ImageWriter",
    "Lines",
    "LongList",
    "append_line",
    "below",
    "cache_folder",
    "check_free",
    "check_seal",
    "children",
    "claimed",
    "clean",
    "clean_beside",
    "damaged_file",
    "exists",
    "hash_of",
    "held",
    "is_absent",
    "is_file",
    "is_folder",
    "is_there",
    "line_of",
    "load_sealed",
    "load_tensors",
    "locked",
    "manifest",
    "open_inside",
    "open_regular",
    "os_error",
    "parse_json",
    "parse_sealed",
    "passing_over",
    "patiently",
    "placed",
    "read_bytes",
    "read_header",
    "read_json",
    "read_lines",
    "read_listed",
    "read_sealed",
    "read_sealed_lists",
    "read_text",
    "remove_folder",
    "resolved",
    "seal",
    "seal_of",
    "seal_tensors",
    "sealed",
    "sha256",
    "tensors",
    "text_edited",
    "unread",
    "unwritten",
    "used",
    "verified",
    "verify_listed",
    "whole_image",
    "within",
    "write_bytes",
    "write_copy",
    "write_image",
    "write_json",
    "write_lists",
    "write_sealed",
    "write_sealed_text",
    "write_tensors",
    "write_text",
    "writing",
    "writing_folder",
]
