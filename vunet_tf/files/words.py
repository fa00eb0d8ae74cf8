"""Parts of messages: numbers with their nouns, and what is wrong with a JSON file."""

import json
import reprlib

# The exceptions that reading a document from outside, or taking values out of it, raises if it breaks its format.
DOCUMENT_ERRORS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def counted(number: int, noun: str) -> str:
    """ "1 picture", "2 pictures", "3,000 pictures"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def shown(value: object) -> str:
    """A value from a file as a message shows it. Of a long one only the beginning and the end are shown."""
    return reprlib.repr(value)


def shortened(text: str, most: int = 500) -> str:
    """A text without its middle, if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def json_fault(error: Exception) -> str:
    """What is wrong with a JSON file, in words, from the exception that reading it or its values raised."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OverflowError):
        return "a number is too large"
    if isinstance(error, KeyError):
        return f"an entry has no {shown(error.args[0])}"
    return "an entry is of another kind than the format says"
