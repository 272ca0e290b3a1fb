"""From a request to the template of its route: the key of a breaker, and a bounded set whatever strangers ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Iterator, Sequence

    from astra_core.asgi import Scope

__all__ = ["RouteKeys"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "")


class RouteKeys:
    """Maps a scope to a template such as `/users/{id}`, by the `routes` of a Starlette or FastAPI application.

    None for a path that no route matches. A mounted application without routes of its own is one key,
    `/static/*`. `Host` routes are passed over. The table is read at the first request, so routes may be added until
    then.

    It goes by what routes have in common: `path`, `path_regex` and `methods`, a mount `routes` instead, a router that
    FastAPI included `effective_route_contexts()`.
    """

    def __init__(self, routes: Sequence[Any]) -> None:
        self._given = routes
        self._routes: list[_Route] | None = None
        self._static: dict[str, str] = {}

    def __call__(self, scope: Scope) -> str | None:
        """Return the template of the route that will answer."""
        if self._routes is None:
            self._routes = list(_read(self._given))
            self._static = dict(_unambiguous(self._routes))
        path = _route_path(scope)
        return self._static.get(path) or _search(self._routes, path, scope["method"])

    def __repr__(self) -> str:
        return f"RouteKeys({len(self._given)} routes)"


class _Route(NamedTuple):
    path: str
    regex: re.Pattern[str]
    methods: frozenset[str]
    """Those that it answers; none stands for all."""
    inside: list[_Route] | None
    """A mount's routes."""


def _read(routes: Iterable[Any]) -> Iterator[_Route]:
    for route in routes:
        if hasattr(route, "effective_route_contexts"):
            contexts = route.effective_route_contexts()
            yield from _read(getattr(context, "starlette_route", None) or context for context in contexts)
        elif getattr(route, "path_regex", None) is None:
            continue
        elif hasattr(route, "methods"):
            yield _Route(route.path, route.path_regex, frozenset(route.methods or ()), None)
        elif hasattr(route, "routes"):  # a websocket's route has neither
            yield _Route(route.path, route.path_regex, frozenset(), list(_read(route.routes or ())))


def _search(routes: Iterable[_Route], path: str, method: str) -> str | None:
    """Do as Starlette's router: the first full match, or else the first route that wants another method."""
    other_method: str | None = None
    for route in routes:
        match = route.regex.match(path)
        if match is None:
            continue
        if route.inside is not None:
            inside = _search(route.inside, "/" + match["path"], method) if route.inside else "/*"
            return None if inside is None else route.path + inside
        if not route.methods or method in route.methods:
            return route.path
        other_method = other_method or route.path
    return other_method


def _unambiguous(routes: Sequence[_Route]) -> Iterator[tuple[str, str]]:
    """Paths without parameters whose template is the same whatever the method: most of them, and the fastest to find.

    Looked up by searching, since a route with parameters may stand before.
    """
    for path in _paths(routes, ""):
        templates = {_search(routes, path, method) for method in _METHODS}
        template = templates.pop()
        if not templates and template is not None:
            yield path, template


def _paths(routes: Iterable[_Route], prefix: str) -> Iterator[str]:
    for route in routes:
        path = prefix + route.path
        if "{" not in path:
            yield path
            yield from _paths(route.inside or (), path)


def _route_path(scope: Scope) -> str:
    """The path below `root_path`, as Starlette's `get_route_path` has it."""
    path: str = scope["path"]
    root = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path
