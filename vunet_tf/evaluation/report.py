"""The results of an evaluation as JSON and as a table for the terminal."""

import dataclasses
import json
import typing
from collections import defaultdict
from itertools import groupby
from pathlib import Path

from vunet_tf.evaluation.measures import Measure, Missing
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError
from vunet_tf.files.reading import read_bytes

FORMAT = "vunet-evaluation-1"


@dataclasses.dataclass(frozen=True)
class Results:
    """The results of an evaluation, as its JSON file has them.

    Attributes:
        run: the run directory.
        dataset: the dataset's folder.
        source: the source it was prepared from.
        command: the command line that measured.
        settings: what decides the numbers, apart from the model: seed, references, protocols, ...
        model: the model's configuration.
        training: the flags of its training.
        versions: versions of the packages.
        changes: sentences that say what changed during its training.
    """

    run: str
    dataset: str
    source: str
    command: str
    settings: dict
    model: dict
    training: dict
    versions: dict
    measures: tuple[Measure, ...]
    missing: tuple[Missing, ...]
    changes: tuple[str, ...] = ()
    format: str = FORMAT


def write(results: Results, path: Path) -> None:
    """Writes the JSON file, whole or not at all."""
    fields = dataclasses.asdict(results)
    fields["measures"] = [each._asdict() for each in results.measures]
    fields["missing"] = [each._asdict() for each in results.missing]
    atomic.write(path, lambda temporary: temporary.write_text(json.dumps(fields, indent=1) + "\n"))


def read(path: Path | str) -> Results:
    """The inverse of `write`.

    Raises:
        InputError: the file cannot be read, or is not such a file.
    """
    try:
        fields = json.loads(read_bytes(path))
        if fields.get("format") != FORMAT:
            raise InputError(f"{path} has format {fields.get('format')!r:.100}, this version reads {FORMAT!r}")
        fields["measures"] = tuple(_of_right_types(Measure(**each)) for each in fields["measures"])
        fields["missing"] = tuple(_of_right_types(Missing(**each)) for each in fields["missing"])
        fields["changes"] = tuple(fields.get("changes", ()))
        results = Results(**fields)
        _demand_types(dataclasses.asdict(results), typing.get_type_hints(Results))
        _demand_types(results.settings.get("splits", {}), defaultdict(lambda: str))
        _demand_types(dict(enumerate(results.changes)), defaultdict(lambda: str))
        json.dumps(fields, ensure_ascii=False).encode()  # a half of a surrogate pair cannot be written into a page
        return results
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; make it with --run_dir=RUN --out={path}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no result of an evaluation: {error!s:.200}; measure the run again") from error


def _of_right_types(each):
    _demand_types(each._asdict(), typing.get_type_hints(type(each)))
    return each


def _demand_types(values, hints):
    """Raises TypeError for a value of another type than its field's."""
    for name, value in values.items():
        wanted = typing.get_args(hints[name]) or (hints[name],)
        if typing.get_origin(hints[name]) is tuple:
            wanted = (tuple,)
        if float in wanted:
            wanted = (*wanted, int)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise TypeError(f"{name} is {value!r:.60}")


def number(measure: Measure) -> str:
    """The value with its interval, in a sensible number of digits: "24.9 [24.1, 25.8]"."""
    digits = decimals(measure)
    if measure.low is None:
        return f"{measure.value:.{digits}f}"
    return f"{measure.value:.{digits}f} [{measure.low:.{digits}f}, {measure.high:.{digits}f}]"


def decimals(measure: Measure) -> int:
    """Digits after the point: two for numbers around 10, three for shares and similarities."""
    largest = max(abs(number) for number in (measure.value, measure.high, measure.low) if number is not None)
    return 3 if largest <= 2 else 2 if largest < 100 else 1


def as_text(results: Results) -> str:
    """The table for the terminal."""
    lines = []
    for (section, split), group in groupby(results.measures, lambda each: (each.section, each.split)):
        lines.append(f"\n{section}, {split}")
        group = list(group)
        width = max(len(each.quantity) for each in group)
        of_width = max(len(each.of) for each in group)
        last = None
        for each in group:
            title = each.quantity if each.quantity != last else ""
            last = each.quantity
            counts = f"{each.examples} examples, {each.appearances} appearances"
            lines.append(f"  {title:{width}}  {each.of:{of_width}}  {number(each):>26} {each.unit:6} {counts}".rstrip())
    if results.missing:
        lines.append("\nnot measured")
        lines += [f"  {each.section}, {each.split}, {each.quantity}: {each.why}" for each in results.missing]
    return "\n".join(lines).lstrip("\n")
