"""Export to SavedModel, for TensorFlow Serving: `python -m export.saved_model`."""
