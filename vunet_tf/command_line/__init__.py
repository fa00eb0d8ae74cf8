"""What all commands share: how they start and end, and flags made from a dataclass."""
