"""Hostile and broken input for every reader of the package: `python -m tests.fuzz` (`make fuzz`), see `docs/trust.md`.

`mutations` damages bytes and documents, `readers` says what is read and how, `campaign` runs each reader in a process
of its own and watches it, `report` writes the table. `cases` keeps the inputs that once were findings.
"""
