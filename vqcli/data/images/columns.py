"""Which columns of a Parquet file hold pictures, labels and keys; others are told by what they hold."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NamedTuple

from vqcli.data.images.base import IMAGE_SUFFIXES
from vqcli.data.images.fields import LABEL_NAMES
from vqcli.data.location import Location, suffix_of
from vqcli.errors import VqcliError, suggestion

IMAGE_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "images", "picture", "photo", "image_bytes",
               "bytes", "content")  # fmt: skip
"""What columns of pictures are called; the first that is there and fits is taken."""
PATH_NAMES = ("image", "img", "file_name", "image_path", "filename", "path", "file", "filepath")
"""What columns are called that name the files of pictures beside the Parquet file."""
ADDRESS_NAMES = ("url", "URL", "image_url")
KEY_NAMES = ("key", "__key__")
USUAL_LABELS = ("label", "labels", "cls")
"""Columns that are taken as labels without a word, if there is no other."""
Form = Literal["struct", "binary", "path"]
"""How pictures stand in a column: {bytes, path}, bytes alone, names of files."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|s3:|www\.")
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]{200,}")


class Pictures(NamedTuple):
    """The column of pictures."""

    name: str
    """``a.b`` for a field inside of another."""
    form: Form
    remark: str = ""

    @property
    def leaf(self) -> str:
        """What is measured of it: the bytes, or the names."""
        return f"{self.name}.bytes" if self.form == "struct" else self.name


class LabelColumn(NamedTuple):
    """The column of labels; an empty name where there is none."""

    name: str
    remark: str = ""


def find_pictures(file: Any, place: Location, wanted: str | None) -> Pictures:
    """The column of pictures of a file that is open. Raises VqcliError where none can be used."""
    schema = file.schema_arrow
    if wanted:
        kind = _type(schema, wanted)
        if kind is None:
            raise _no_column(schema, place, wanted)
        return Pictures(wanted, _form(kind) or _path(file, place, wanted, kind))
    others = {field.name: field.type for field in schema if field.name.lower() not in LABEL_NAMES}
    fitting = {name: form for name, kind in others.items() if (form := _form(kind))}
    named = [name for wanted in IMAGE_NAMES for name in fitting if name.lower() == wanted]
    if len(fitting) > 1 and not named:
        message = f"{place} has several columns that may hold pictures: {', '.join(fitting)}"
        raise VqcliError(message, hint=f"choose: --image-column {next(iter(fitting))}", reason="option")
    if fitting:
        name = (named or list(fitting))[0]
        rest = ", ".join(other for other in fitting if other != name)
        told = f"pictures are those of column {name} (not {rest}); --image-column chooses another"
        return Pictures(name, fitting[name], told if rest else "")
    return _files_beside(file, place)


def _files_beside(file: Any, place: Location) -> Pictures:
    """The column that names files of pictures. Raises VqcliError that says what else there is."""
    columns = {field.name: field.type for field in file.schema_arrow}
    wrong = []
    for name in dict.fromkeys((*PATH_NAMES, *IMAGE_NAMES, *ADDRESS_NAMES)):
        if name in columns:
            try:
                return Pictures(name, _path(file, place, name, columns[name]))
            except VqcliError as e:
                wrong.append(e)
    if wrong:
        raise wrong[0]
    hint = "an image data set has a column 'image' of {bytes, path}, as on the Hub"
    there = ", ".join(f"{name} ({kind})" for name, kind in columns.items())
    message = f"{place} holds no images, but {there[:300]}"
    raise VqcliError(message, hint=hint, reason="input-empty")


def find_label(schema: Any, place: Location, wanted: str | None) -> LabelColumn:
    """The column of labels. Raises VqcliError where the one that is wanted cannot be used."""
    if wanted:
        kind = _type(schema, wanted)
        if kind is None:
            raise _no_column(schema, place, wanted)
        if not _is_label(kind):
            message = f"{place}: column {wanted} holds {kind}, no label for each picture"
            raise VqcliError(message, hint="name another, or --no-labels", reason="labels")
        return LabelColumn(wanted)
    there = [name for known in LABEL_NAMES for name in schema.names if name.lower() == known]
    usable = [name for name in there if _is_label(schema.field(name).type)]
    if usable:
        name, *others = usable
        also = f" (not {', '.join(others)})" if others else ""
        told = f"labels are those of column {name}{also}; --label-column chooses another"
        return LabelColumn(name, told if others or name.lower() not in USUAL_LABELS else "")
    if there:
        kind = f"column {there[0]} holds {schema.field(there[0]).type}, no label for each picture"
        return LabelColumn("", f"{kind}: images have none; --label-column chooses another")
    return LabelColumn("")


def find_key(schema: Any) -> str:
    """The column of names of rows; empty where there is none."""
    from pyarrow import types

    usable = (types.is_string, types.is_large_string, types.is_integer)
    fitting = (n for n in KEY_NAMES if n in schema.names and any(is_(schema.field(n).type) for is_ in usable))
    return next(fitting, "")


def check_columns(schema: Any, place: Location, names: tuple[str, ...]) -> None:
    """Raises VqcliError where a column is not there."""
    for name in names:
        if _type(schema, name) is None:
            raise _no_column(schema, place, name)


def class_names(schema: Any, label: str) -> list[str]:
    """Class names from the schema's Hugging Face metadata; empty where it tells none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        for part in [label] if label in features else label.split("."):
            features = features[part]
        return [str(name) for name in features["names"]]
    except (KeyError, RecursionError, TypeError, ValueError):
        return []


def has_text(schema: Any, name: str) -> bool:
    """Whether there is a column of text, or a field ``a.b`` of it inside of one."""
    kind = _type(schema, name)
    return kind is not None and _is_text(kind)


def has_field(schema: Any, name: str) -> bool:
    """Whether there is a column, or a field ``a.b`` inside of one."""
    return _type(schema, name) is not None


def _type(schema: Any, name: str) -> Any:
    """The type of a column, or of a field ``a.b`` inside of one; None where there is none."""
    from pyarrow import types

    if name in schema.names:
        return _plain(schema.field(name).type)
    first, *rest = name.split(".")
    kind: Any = schema.field(first).type if first in schema.names else None
    for part in rest:
        inside = kind is not None and types.is_struct(kind) and part in [field.name for field in kind]
        kind = kind.field(part).type if inside else None
    return None if kind is None else _plain(kind)


def _plain(kind: Any) -> Any:
    """What a type stores, where it is packed or an extension of another."""
    from pyarrow import BaseExtensionType, types

    while isinstance(kind, BaseExtensionType):
        kind = kind.storage_type
    return kind.value_type if types.is_dictionary(kind) else kind


def _form(kind: Any) -> Form | None:
    from pyarrow import types

    kind = _plain(kind)
    if types.is_struct(kind):
        return "struct" if any(f.name == "bytes" and _form(f.type) == "binary" for f in kind) else None
    is_binary = types.is_binary(kind) or types.is_large_binary(kind) or str(kind) == "binary_view"
    return "binary" if is_binary else None


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view"


def _is_label(kind: Any) -> bool:
    from pyarrow import types

    kind = _plain(kind)
    numbers = types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)
    return numbers or _is_text(kind) or _form(kind) == "binary" or types.is_null(kind)


def _path(file: Any, place: Location, name: str, kind: Any) -> Form:
    """``path``, where a column holds names of files. Raises VqcliError that says what else it holds."""
    kind = _plain(kind)
    holds, hint = str(kind), "pictures are bytes of PNG, JPEG, ..., {bytes, path}, or names of files"
    if _is_text(kind):
        text = _first(file, name)
        if suffix_of(text) in IMAGE_SUFFIXES and not _ADDRESS.match(text):
            return "path"
        holds = f"text ({ascii(text)[:40]}), no names of image files"
        if _ADDRESS.match(text):
            holds, hint = "addresses, not pictures", "download the pictures, with img2dataset say"
        elif text.startswith("data:") or _BASE64.fullmatch(text):
            holds, hint = "pictures as base64 text, not as bytes", "base64.b64decode makes bytes of it"
    elif inner := getattr(kind, "value_type", None):
        if _form(inner) or _is_text(inner):
            holds, hint = f"{kind}: several pictures a row", "make a row of each picture"
        else:
            holds = f"{kind}: raw pixels, not an encoded picture"
            hint = "encode them as PNG, or save uint8 (N, H, W, 3) in an .npz: numpy.savez(path, images)"
    raise VqcliError(f"{place}: column {name} holds {holds}", hint=hint, reason="format")


def _first(file: Any, name: str) -> str:
    """The first text in a column; empty where there is none."""
    top = name if name in file.schema_arrow.names else name.split(".")[0]
    for batch in file.iter_batches(batch_size=64, columns=[name], use_threads=False):
        for value in batch.column(top).to_pylist():
            for part in name.split(".")[1:] if top != name else ():
                value = value and value.get(part)
            if value:
                return str(value)
        break
    return ""


def _no_column(schema: Any, place: Location, name: str) -> VqcliError:
    hint = suggestion(name, schema.names)
    return VqcliError(f"{place} has no column {name}", hint=hint, reason="input-missing")
