"""Many requests to what was exported: `python -m export.load`."""
