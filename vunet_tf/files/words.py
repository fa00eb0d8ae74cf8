"""Parts of messages: numbers with their nouns, and what is wrong with a JSON file."""

import json


def counted(number: int, noun: str) -> str:
    """ "1 picture", "2 pictures", "3,000 pictures"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def json_fault(error: Exception) -> str:
    """What is wrong with a JSON file, by the exception that reading it or picking values out of it raised."""
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeDecodeError):
        return "it is not text"
    if isinstance(error, KeyError):
        return f"an entry has no {error.args[0]!r}"
    return "an entry is of another kind than the format says"
