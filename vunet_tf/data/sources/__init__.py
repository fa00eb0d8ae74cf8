"""The formats people have. Each module reads one: `open_source(options)` gives a `Source`, the work item by item.

To add one: write its module; name it in `SOURCES` of `registry`, and in `OPTIONS` the settings that it takes; add
settings that no other source has to `Options` in `source`, and how its pictures are brought to a square to
`DEFAULT_FITS` there.
"""
