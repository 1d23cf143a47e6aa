"""Render the templates of this folder: one frame, style sheet and script for every page."""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from edgedistill.core.text import on_page

_NUMBER_AND_PERCENT = re.compile(r"(?<=\d) %")


def rendered(template: str, filters: Mapping[str, Callable[..., Any]], **values: Any) -> str:
    """Render a template with page.js inline and the hash that allows it to run.

    Args:
        template: name of a file in this folder.
        filters: functions that the template calls, by name.
        values: what the template names; a name that is missing is an error.
    """
    environment = environment_of(template)
    environment.filters |= filters
    script = (resources.files("edgedistill.reporting") / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = environment.get_template(template).render(script=script, script_hash=f"sha256-{digest}", **values)
    body, script_tag, data = page.partition("<script")  # behind it are the JSON and page.js
    return _NUMBER_AND_PERCENT.sub("\N{NO-BREAK SPACE}%", body) + script_tag + data


@functools.cache
def environment_of(template: str) -> jinja2.Environment:
    """One for each page, whose filters have their own names: a template is compiled once in a process."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("edgedistill.reporting", "."),
        autoescape=True,
        finalize=on_page,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def json_in_html(value: Any) -> Markup:
    """Encode JSON so that no value can end the script element: every `<` is escaped."""
    return htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":"))
