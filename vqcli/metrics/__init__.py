"""Measures: codebook usage, and how far images are from each other."""
