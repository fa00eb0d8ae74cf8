"""Tests an exported model with many requests: `python -m export.load`."""

from pathlib import Path

RULES = Path(__file__).parent.parent / "serving/batching.config"  # the rules of batching that come along
