"""Lists the commands of the package: `python -m vunet_tf`."""

import ast
import shlex
import sys
from pathlib import Path

COMMANDS = ("prepare", "train", "generate", "evaluate", "estimate", "benchmark")  # in the order of a user's work


def listing() -> str:
    """A line for each command: how it is called, and the first line of its docstring."""
    told = []
    for name in COMMANDS:
        docstring = ast.get_docstring(ast.parse(Path(__file__).with_name(f"{name}.py").read_text())) or ""
        told.append(f"  python -m vunet_tf.{name:<10} {docstring.partition(chr(10))[0]}")
    ending = "--help after a command explains it. docs/export.md has the commands python -m export.NAME."
    return "\n".join(["The commands of vunet_tf:", "", *told, "", ending])


def main(arguments: list[str]) -> None:
    """Prints the list. Anything but --help is refused, with the command that was meant."""
    if arguments and arguments[0] in COMMANDS:
        sys.exit(f"error: write python -m vunet_tf.{shlex.join(arguments)}")
    if arguments and arguments[0] not in ("--help", "-h"):
        sys.exit(f"error: {arguments[0]} is no command; there is {', '.join(COMMANDS)}")
    print(listing())


if __name__ == "__main__":
    main(sys.argv[1:])
