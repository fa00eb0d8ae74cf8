"""From pictures to batches: `sources/` reads formats, `dataset` is ours on disk, `batches` feeds the model."""
