"""Simple answers to the task that a model should beat."""
