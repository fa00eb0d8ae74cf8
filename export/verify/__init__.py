"""Exported files held against Keras and the truth: `python -m export.verify`."""
