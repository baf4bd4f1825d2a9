"""Model folders: what a tokenizer or a generator is on disk and on the Hub.

``config.json`` rebuilds it, ``model.safetensors`` is the network, ``codebook.safetensors`` a tokenizer's
codes (K, D). A generator's folder also holds its tokenizer's folder ``tokenizer/`` and ``classes.json``.
"""

from vqcli.checkpoint.card import record_measured
from vqcli.checkpoint.folder import hash_of, kind_of, read_config
from vqcli.checkpoint.generator import (
    describe_generator,
    load_generator,
    read_classes,
    read_generator,
    save_generator,
    write_classes,
)
from vqcli.checkpoint.tokenizer import (
    describe_tokenizer,
    fingerprint,
    load_tokenizer,
    read_spec,
    read_tokenizer,
    read_tokenizer_outline,
    save_tokenizer,
)

__all__ = [
    "describe_generator",
    "describe_tokenizer",
    "fingerprint",
    "hash_of",
    "kind_of",
    "load_generator",
    "load_tokenizer",
    "read_classes",
    "read_config",
    "read_generator",
    "read_spec",
    "read_tokenizer",
    "read_tokenizer_outline",
    "record_measured",
    "save_generator",
    "save_tokenizer",
    "write_classes",
]
