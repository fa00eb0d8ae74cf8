"""Export to TFLite, for phones and browsers: `python -m export.tflite`."""

PRECISIONS = ("float32", "float16", "dynamic", "int8")  # explained in quantise.py
