"""Templates to pages: everything is escaped, and nothing is loaded from elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from tunesmith import __version__
from tunesmith.evaluation.report.texts import TEXTS


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, language: str, **values: Any) -> str:
    """A page in one language; `t` holds the texts."""
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = _environment().get_template(template)
    return page.render(
        t=TEXTS[language],
        language=language,
        made=made,
        version=__version__,
        short=short_name,
        **values,
    )


def short_name(name: str) -> str:
    """The last two parts of a path; a hub id and the name of a dataset stay as they are."""
    parts = Path(name).parts
    return "/".join(parts[-2:]) if len(parts) > 2 else name
