"""Commands that are killed at random moments: `python -m tests.faults` (`make slowtest`), see `docs/trust.md`.

`commands` says which commands, and what must be equal afterwards; `kills` kills them and looks at what they left;
`report` writes the table.
"""
