"""Evaluation: what is measured, of which images, and how far it has come."""
