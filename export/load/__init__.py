"""Tests an exported model with many requests: `python -m export.load`."""
