"""The console's files: the page of every address that is not an API's, and what it loads.

The page carries a nonce, new with each answer, under which Ant Design writes its styles; scripts
come from files alone. The files are built by `make console` and are not in the repository.
"""

from __future__ import annotations

import mimetypes
import secrets
from html import escape
from importlib import resources
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.convertors import Convertor, register_url_convertor
from starlette.responses import FileResponse, HTMLResponse

from tunesmith.api.texts import preferred
from tunesmith.server.errors import NotFound

BUILT: Final = Path(str(resources.files("tunesmith"))) / "console_files"
_NONCE: Final = "__NONCE__"  # stands in console/index.html
_FOREVER: Final = "public, max-age=31536000, immutable"  # names of assets carry their hash
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'nonce-{nonce}'",
        "img-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)


class _Address(Convertor[str]):
    """What may be an address of the console: all that belongs to no API."""

    regex = r"(?!(?:api|v1|assets)(?:/|$)|metrics$).*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("console_address", _Address())


def add_console(app: FastAPI, built: Path = BUILT) -> None:
    """Serve the console, or, where it was not built, a page that says how to build it."""
    router = APIRouter(include_in_schema=False)

    @router.get("/assets/{name}")
    def asset(name: str, request: Request) -> Response:
        return _file(built / "assets", name, request, _FOREVER)

    @router.get("/{address:console_address}")
    def page(address: str, request: Request) -> Response:
        if address and "." in address and (built / address).is_file() and "/" not in address:
            return _file(built, address, request, "public, max-age=3600")
        if address and "text/html" not in request.headers.get("accept", ""):
            raise NotFound(
                f"There is no /{address} here.", code="no_such_route", path=f"/{address}"
            )
        return _page(built, request)

    app.include_router(router)


def _page(built: Path, request: Request) -> Response:
    """Read anew each time, so that a console that is built again shows without a restart."""
    try:
        text = (built / "index.html").read_text("utf-8")
    except FileNotFoundError:
        return _not_built(preferred(request.headers.get("accept-language")))
    nonce = secrets.token_urlsafe(16)
    headers = {
        "content-security-policy": _POLICY.format(nonce=nonce),
        "cache-control": "no-store",  # a nonce is used once
    }
    return HTMLResponse(text.replace(_NONCE, nonce), headers=headers)


def _file(folder: Path, name: str, request: Request, cache: str) -> Response:
    """A file of the folder itself, compressed as it was built where the browser takes that."""
    path = folder / name
    if path.parent != folder or not path.is_file():
        raise NotFound(
            f"There is no {request.url.path} here.", code="no_such_route", path=request.url.path
        )
    headers = {
        "cache-control": cache,
        "vary": "Accept-Encoding",
        "content-security-policy": _FILE_POLICY,
    }
    accepted = request.headers.get("accept-encoding", "")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    for encoding, ending in _ENCODINGS:
        packed = path.with_name(name + ending)
        if encoding in accepted and packed.is_file():
            headers["content-encoding"] = encoding
            return FileResponse(packed, headers=headers, media_type=kind)
    return FileResponse(path, headers=headers, media_type=kind)


# What a worker among the files may do: speak to this server.
_FILE_POLICY: Final = "default-src 'none'; script-src 'self'; connect-src 'self'"
_PLAIN: Final = {
    "en": (
        "The console is not built",
        "This server runs from a source checkout. Build the console in its folder, "
        "then load this page again:",
        "The API works meanwhile:",
    ),
    "zh": (
        "控制台尚未构建",
        "此服务器从源代码目录运行。请在该目录中构建控制台，然后刷新本页：",
        "在此期间 API 可正常使用：",
    ),
}


def _not_built(language: str) -> Response:
    title, about, api = (escape(text) for text in _PLAIN[language])
    address = "/api/v1/openapi.json"
    return HTMLResponse(
        f'<!doctype html><html lang="{language}"><meta charset="utf-8"><title>tunesmith</title>'
        f"<h1>{title}</h1><p>{about}</p><pre>make console</pre>"
        f'<p>{api} <a href="{address}">{address}</a></p></html>',
        status_code=503,
    )
