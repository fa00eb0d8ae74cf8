"""Flags made from a dataclass, one for each field: its default, its type, and its help out of the docstring.

A field's `metadata` may have "choices" (the values that it can take), and "least" and "most" (its bounds).
"""

import dataclasses
import re
import sys
import textwrap
import typing
from pathlib import Path

from absl import flags

from vunet_tf.config import ModelConfig, RunConfig, TrainingConfig
from vunet_tf.files.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"  # the flagfiles of a clone

flags.disclaim_key_flags()  # they belong to the command that asks for them


def _kind(annotation):
    """The type in an annotation such as `int`, `Path | None` or `tuple[float, ...]`."""
    (kind,) = {t for t in typing.get_args(annotation) if t is not type(None)} if _optional(annotation) else {annotation}
    return typing.get_origin(kind) or kind


def _optional(annotation):
    return type(None) in typing.get_args(annotation)


def define(settings_class, from_dataset=(), into: flags.FlagValues = flags.FLAGS) -> None:
    """Defines a flag for every field of a dataclass.

    Args:
        settings_class: the dataclass.
        from_dataset: fields that are by default what the dataset has.
        into: where the flags are defined.
    """
    helps, types = descriptions(settings_class), typing.get_type_hints(settings_class)
    for field in dataclasses.fields(settings_class):
        default = None if field.name in from_dataset else field.default
        text = helps.get(field.name, "") + (" By default the dataset's." if field.name in from_dataset else "")
        kind, known = _kind(types[field.name]), field.metadata
        bounds = {f"{side}_bound": known[key] for side, key in (("lower", "least"), ("upper", "most")) if key in known}
        if kind is bool:
            flags.DEFINE_bool(field.name, default, text, flag_values=into)
        elif kind is int:
            flags.DEFINE_integer(field.name, default, text, flag_values=into, **bounds)
        elif kind is float:
            flags.DEFINE_float(field.name, default, text, flag_values=into, **bounds)
        elif kind is tuple:
            flags.DEFINE_list(field.name, ",".join(map(str, default)), text, flag_values=into)
        elif "choices" in known:
            flags.DEFINE_enum(field.name, default, list(known["choices"]), text, flag_values=into)
        else:
            flags.DEFINE_string(field.name, default, text, flag_values=into)


def values(settings_class, of: flags.FlagValues = flags.FLAGS) -> dict:
    """{field: the value of its flag}, as the dataclass takes them.

    Raises:
        InputError: a list that should hold numbers holds something else.
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
                raise InputError(f"--{field.name}={','.join(value)}: must be numbers with commas between") from None
        found[field.name] = value
    return found


def descriptions(settings_class) -> dict[str, str]:
    """What the docstring of a dataclass says of each field, {name: text}; {} where Python leaves docstrings out."""
    _, _, attributes = (settings_class.__doc__ or "").partition("Attributes:\n")
    entries = re.findall(r"^(\w+): (.+(?:\n +.+)*)", textwrap.dedent(attributes.split("\n\n")[0]), re.MULTILINE)
    texts = {name: re.sub(r"\s+", " ", text) for name, text in entries}
    return {name: text[0].upper() + text[1:] for name, text in texts.items()}


def own() -> list[flags.Flag]:
    """The flags of the command that runs."""
    return flags.FLAGS.get_key_flags_for_module(sys.argv[0])


def given() -> dict:
    """{name: value} of the command's flags that were given."""
    return {flag.name: flag.value for flag in own() if flag.present}


def as_flagfile() -> str:
    """All flags of the command with their values, as the text of a flagfile."""
    return "".join(f"{flag.serialize()}\n" for flag in own() if flag.value is not None)


def read_flagfile(path: Path | str) -> ModelConfig:
    """The model that a flagfile of `train` describes; what it does not say is as `ModelConfig`'s default.

    Raises:
        InputError: there is no such file, it names an unknown flag or a wrong value.
    """
    found = flags.FlagValues()
    for settings_class in (RunConfig, ModelConfig, TrainingConfig):
        define(settings_class, into=found)
    try:
        found(["", *found.read_flags_from_files([f"--flagfile={path}"])])
    except flags.Error as error:
        raise InputError(f"{path}: {error}") from error
    return ModelConfig(**values(ModelConfig, found))
