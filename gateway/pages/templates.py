"""Renders HTML with everything escaped, under a policy that lets nothing run but our own scripts."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

# Pictures may lie on any host; everything else is our own.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src * data: blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-cache",  # lists change; going back still shows the page as it was
}

environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "html"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def render(template: str, status: int = 200, **context: Any) -> HTMLResponse:
    """Answer with a template of html/; context values are text, never markup."""
    html = environment.get_template(template).render(context)
    return HTMLResponse(html, status, HEADERS)
