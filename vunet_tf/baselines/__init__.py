"""Simple solutions of the task, which a model should beat."""
