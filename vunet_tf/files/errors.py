"""The one kind of error that is the user's to mend."""


class InputError(ValueError):
    """Something that was given is wrong. The message names it and the remedy; mains print it without a traceback."""
