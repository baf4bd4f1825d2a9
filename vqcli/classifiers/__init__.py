"""Classifiers: the tokens of an image to its class, one file each."""
