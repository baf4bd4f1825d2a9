"""Blocks without a concept of this project: convolutions, VQBridge, nearest-code search."""
