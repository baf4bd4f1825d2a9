"""Model folders: what a tokenizer or a generator is on disk and on the Hub.

``config.json`` rebuilds it, ``model.safetensors`` is the network, ``codebook.safetensors`` a tokenizer's
codes (K, D). A generator's folder also holds its tokenizer's folder ``tokenizer/`` and ``classes.json``.
"""
