"""The formats that people have. Each module reads one: `open_source(options)` gives a `Source`, a list of work items.

To add a format: write its module. Name it in `SOURCES` of `registry`, and name the settings that it takes in `OPTIONS`
there. Add settings that no other source has to `Options` in `source`, and the way in which its pictures become square
to `DEFAULT_FITS` there.
"""
