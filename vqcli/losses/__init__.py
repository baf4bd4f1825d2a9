"""Losses on images and their reconstructions."""
