"""The formats people have. Each module reads one: `open_source(options)` gives a `Source`, the work item by item.

`SOURCES` in `registry` is the list of them all.
"""
