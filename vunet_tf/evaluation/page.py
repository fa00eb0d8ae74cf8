"""The results as one HTML page. The pictures are embedded, so it can be sent as a single file."""

import base64
from itertools import groupby
from typing import NamedTuple

from jinja2 import Environment, PackageLoader

from vunet_tf.evaluation.report import Results, number


class Picture(NamedTuple):
    """A picture of the page, which is also written as OUT_name.png. png: the bytes of this file."""

    name: str
    title: str
    caption: str
    png: bytes


def as_html(results: Results, pictures: list[Picture]) -> str:
    """The page's text."""
    environment = Environment(loader=PackageLoader("vunet_tf.evaluation", ""), autoescape=True)
    sections = [
        {"section": section, "split": split, "measures": list(group)}
        for (section, split), group in groupby(results.measures, lambda each: (each.section, each.split))
    ]
    shown = [{**picture._asdict(), "data": base64.b64encode(picture.png).decode()} for picture in pictures]
    template = environment.get_template("page.html.jinja")
    return template.render(results=results, sections=sections, pictures=shown, number=number)
