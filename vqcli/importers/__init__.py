"""Importers: published checkpoints under our names, and how their files are read."""
