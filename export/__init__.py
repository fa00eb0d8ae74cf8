"""Export of trained models: SavedModel for TF Serving and TFLite for phones."""
