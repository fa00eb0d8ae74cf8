"""The one kind of error that the user can mend."""


class InputError(ValueError):
    """Something that the user gave is wrong. The message names it and the remedy. Commands print it, no traceback."""
