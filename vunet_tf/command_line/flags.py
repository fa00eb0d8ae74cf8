"""Flags made from a dataclass, one for each field. Default and type are the field's; the help is in the docstring.

To add a flag, add a field to a class of `vunet_tf.config` and a line to its docstring; nothing here names a flag.

The dataclass itself checks its values (`config.Settings`), so a wrong value is refused from Python as well.
"""

import dataclasses
import re
import sys
import textwrap
import typing
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from vunet_tf.command_line.startup import parse_flags
from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig, told
from vunet_tf.files.errors import InputError
from vunet_tf.files.words import shortened

CONFIGS = Path(__file__).parents[2] / "configs"  # the flagfiles of a clone

flags.disclaim_key_flags()  # the flags belong to the command that asks for them


_DEFINE: dict[type, Callable] = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    tuple: flags.DEFINE_list,
}


def _kind(annotation):
    """The type in an annotation such as `int`, `Path | None` or `tuple[float, ...]`."""
    (kind,) = {t for t in typing.get_args(annotation) if t is not type(None)} if _optional(annotation) else {annotation}
    return typing.get_origin(kind) or kind


def _optional(annotation):
    return type(None) in typing.get_args(annotation)


def _ending(words):
    return f"{words[0].upper()}{words[1:]}." if words else ""


def define(settings_class: type, from_dataset: Sequence[str] = (), into: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for every field of a dataclass.

    Args:
        settings_class: the dataclass.
        from_dataset: fields whose default is the value of the dataset.
        into: where the flags are defined.
    """
    helps, types = descriptions(settings_class), typing.get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):
        default = None if field.name in from_dataset else field.default
        text = helps.get(field.name, "") + (" By default that of the dataset." if field.name in from_dataset else "")
        define_one = _DEFINE.get(_kind(types[field.name]), flags.DEFINE_string)
        if isinstance(default, tuple):
            default = ",".join(map(str, default))
        define_one(field.name, default, f"{text} {_ending(told(field.metadata))}".strip(), flag_values=into)


def define_pose_model(text: str = "Folder of the pose estimator's weights.") -> flags.FlagHolder:
    """Defines --pose_model, for a command that may estimate joints. `text` says what the folder is for."""
    return flags.DEFINE_string("pose_model", None, f"{text} By default the user's cache folder.")


def values(settings_class: type, of: flags.FlagValues = flags.FLAGS) -> dict:
    """{field: the value of its flag}, in the form that the dataclass takes.

    Raises:
        InputError: a list of numbers holds something else.
    """
    found, types = {}, typing.get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):
        value, numbers = of[field.name].value, types[field.name] == tuple[float, ...]
        if value is not None and _kind(types[field.name]) is Path:
            value = Path(value)
        elif isinstance(value, list):
            try:
                value = tuple(map(float, value)) if numbers else tuple(value)
            except ValueError:
                raise InputError(
                    f"--{field.name}={','.join(map(str, value))}: must be numbers with commas between"
                ) from None
        found[field.name] = value
    return found


def descriptions(settings_class: type) -> dict[str, str]:
    """{field: what the dataclass's docstring says about it}; {} where Python was started without docstrings (-OO)."""
    _, _, attributes = (settings_class.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^(\w+): (.+(?:\n +.+)*)", textwrap.dedent(attributes.split("\n\n")[0]), re.MULTILINE)
    texts = {name: re.sub(r"\s+", " ", text) for name, text in entries}
    return {name: text if text.split()[0].endswith(":") else text[0].upper() + text[1:] for name, text in texts.items()}


def own() -> list[flags.Flag]:
    """The flags of the running command."""
    return flags.FLAGS.get_key_flags_for_module(sys.argv[0])


def given() -> dict:
    """{name: value} of the flags that the user gave."""
    return {flag.name: flag.value for flag in own() if flag.present}


def as_flagfile() -> str:
    """All flags of the command with their values, as the text of a flagfile."""
    return "".join(f"{flag.serialize()}\n" for flag in own() if flag.value is not None)


def read_flagfile(path: Path | str) -> ModelConfig:
    """The model that a flagfile of `train` describes. Settings that it does not name have their defaults.

    Raises:
        InputError: there is no such file, or it names an unknown flag or a wrong value.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no flagfile {path}; those in configs/ come with the repository, not by pip")
    found = flags.FlagValues()
    for settings_class in (RunConfig, ModelConfig, TrainingConfig):
        define(settings_class, into=found)
    try:
        parse_flags(found, ["", f"--flagfile={path}"])
    except flags.Error as error:
        raise InputError(f"{path}: {shortened(str(error))}") from error
    try:
        return ModelConfig(**values(ModelConfig, found))
    except InputError as error:
        raise InputError(f"{path}: {shortened(str(error))}") from error
