"""Routes, and who may ask what: reading only, by a name of this machine, for pages that load nothing from elsewhere."""

import hashlib
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rooney.config.loader import Config
from rooney.config.schema import Dashboard
from rooney.dashboard import openmetrics as metrics
from rooney.dashboard.events import Stream
from rooney.dashboard.pages import Pages, Tab
from rooney.dashboard.poller import Watcher
from rooney.dashboard.query import Query
from rooney.monitor.conditions import Severity, conditions
from rooney.monitor.system import System

STATIC = Path(__file__).with_name("static")
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
_TYPES = {".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="{colour}"/>'
    '<text x="16" y="23" text-anchor="middle" font-family="sans-serif" font-weight="700" font-size="20" fill="#fff">'
    "{text}</text></svg>"
)


class Guard:
    """Refuses what is not a reading request to a local name, and gives every answer its headers.

    A page elsewhere could have its own name point here; without a network of its own the process would still answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        host = Headers(scope=scope).get("host", "")
        if (host.rpartition(":")[0] or host) not in LOCAL_NAMES:
            refusal: Response = JSONResponse(
                {"error": "this page answers to localhost only: use an SSH tunnel"}, status_code=403
            )
            await refusal(scope, receive, guarded)
        elif scope["method"] not in ("GET", "HEAD"):
            refusal = JSONResponse(
                {"error": "nothing can be changed here"}, status_code=405, headers={"Allow": "GET, HEAD"}
            )
            await refusal(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)


def build(watcher: Watcher, config: Config, block: Dashboard) -> ASGIApp:
    """The application of a configuration."""
    pages = Pages(watcher.looker, config, block)
    files = {path.name: path.read_bytes() for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES}
    # a new version has a new address, so what a browser keeps never belongs to another one
    pages.assets = {name: f"/static/{name}?v={hashlib.sha256(data).hexdigest()[:12]}" for name, data in files.items()}

    events = _Events(watcher, pages)
    boot = f"{time.time_ns():x}"  # versions of another process mean nothing here

    async def page(request: Request) -> Response:
        tab = pages.tab(request.url.path)
        if tab is None:
            return _absent(request, pages)
        return HTMLResponse(pages.page(tab, Query.of(request.query_params), await watcher.system()))

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            return _absent(request, pages)
        kept = "public, max-age=31536000, immutable" if "v" in request.query_params else "no-cache"
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers={"Cache-Control": kept})

    async def favicon(request: Request) -> Response:
        count, severity = request.query_params.get("n", ""), request.query_params.get("s", "0")
        colour = {"1": "#b07400", "2": "#b3182b"}.get(severity, "#2456c4")
        text = count if count.isascii() and count.isdecimal() and count != "0" and len(count) < 3 else "r"
        return Response(_FAVICON.format(colour=colour, text=text), media_type="image/svg+xml")

    async def healthz(request: Request) -> Response:
        system = await watcher.system()
        found = [one.text for one in conditions(system) if one.severity > Severity.NOTE]
        return JSONResponse({"ok": not found, "attention": found}, status_code=503 if found else 200)

    async def exposition(request: Request) -> Response:
        text = metrics.render(await watcher.system(), watcher.looker)
        return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})

    async def parts(request: Request) -> Response:
        """Parts of a page that found no free connection for a stream: a browser has six for all its pages."""
        system = await watcher.system()
        query = Query.of(request.query_params)
        tab = pages.tab(query.page)
        if tab is None:
            return _absent(request, pages)
        version = f"{boot}-{watcher.version}"
        if request.query_params.get("v") == version:
            return Response(status_code=204)
        return JSONResponse({"version": version, "parts": events.parts(tab, query, system)})

    async def not_found(request: Request, error: Exception) -> Response:
        return _absent(request, pages)

    routes = [
        Route("/events", events),
        Route("/parts", parts),
        Route("/favicon.svg", favicon),
        Route("/healthz", healthz),
        Route("/metrics", exposition),
        Route("/static/{name}", static),
        Route("/{rest:path}", page),
    ]
    return Guard(Starlette(routes=routes, exception_handlers={404: not_found}))


def _absent(request: Request, pages: Pages) -> Response:
    there = ", ".join([tab.path for tab in pages.tabs()] + ["/healthz", "/metrics"])
    return PlainTextResponse(f"{request.url.path}: there is no such page; there are {there}\n", status_code=404)


class _Events:
    """The stream of the page that `page` names; one rendering serves all clients that look at the same."""

    def __init__(self, watcher: Watcher, pages: Pages) -> None:
        self._watcher = watcher
        self._pages = pages
        self._drawn: dict[tuple[Tab, Query], tuple[int, list[tuple[str, str]]]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = Query.of(Request(scope).query_params)
        tab = self._pages.tab(query.page)
        if tab is None:
            await PlainTextResponse("page: expected the path of a page\n", status_code=404)(scope, receive, send)
            return

        def render(system: System) -> list[tuple[str, str]]:
            return self.parts(tab, query, system)

        await Stream(self._watcher, render)(scope, receive, send)

    def parts(self, tab: Tab, query: Query, system: System) -> list[tuple[str, str]]:
        """(id, HTML) of what a page shows now."""
        version = self._watcher.version
        known = self._drawn.get((tab, query))
        if known is not None and known[0] == version:
            return known[1]
        self._drawn = {key: value for key, value in self._drawn.items() if value[0] == version}
        parts = self._pages.parts(tab, query, system)
        self._drawn[(tab, query)] = (version, parts)
        return parts
