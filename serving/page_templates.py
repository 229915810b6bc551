"""HTML pages from the templates in ``pages/``: escaped, with a style sheet that the policy allows by its hash."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from starlette.responses import HTMLResponse

FOLDER = Path(__file__).parent / "pages"
_STYLE = "style.css"


def render(
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    *,
    scripts: bool = False,
) -> HTMLResponse:
    """Return a page; ``scripts`` allows the scripts of this service, and their requests to it."""
    content = _templates().get_template(template).render(values)
    return HTMLResponse(content, status, {"content-security-policy": _policy(scripts=scripts), **(headers or {})})


@functools.cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    templates.filters["sentence"] = _sentence
    return templates


def _sentence(message: str) -> str:
    """Return the message of an error as a sentence."""
    return message[:1].upper() + message[1:] + ("" if message.endswith((".", "!", "?")) else ".")


@functools.cache
def _policy(*, scripts: bool) -> str:
    """Return a content security policy: the inline style sheet, the icon, forms, and nothing of another host."""
    style = _templates().get_template(_STYLE).render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    sources = [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
    return "; ".join([*sources, *(["script-src 'self'", "connect-src 'self'"] if scripts else [])])
