"""What every command shares: how it starts and ends, and flags made from a dataclass."""
