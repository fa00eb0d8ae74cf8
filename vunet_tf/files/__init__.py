"""Files and pictures in files: atomic writing, errors for the user, decoding, pixels, and grids of pictures."""
