"""Export to TFLite, for phones and browsers: `python -m export.tflite`."""
