"""Files and pictures as files: atomic writing, the error of the user's, decoding, pixels and grids of pictures."""
