"""vqcli: train, run and measure vector-quantized image tokenizers."""

__version__ = "0.1.0"
