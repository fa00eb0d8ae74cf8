"""Commands that are killed at random moments: `python -m tests.faults` (`make slowtest`), see `docs/trust.md`.

`commands` lists the commands and what must be equal afterwards. `kills` kills them and checks which files they left.
`report` writes the table.
"""
