"""A page for browsers: a folder of plain files in which a run makes pictures, without a server's help."""
