"""Compares exported files with Keras and with the truth: `python -m export.verify`."""
