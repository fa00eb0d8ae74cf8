"""From pictures to batches: `sources/` reads formats, `dataset` is our format on disk, `batches` feeds the model."""
