"""A store by its URL: `sqlite:///…`, `postgresql://…`, `redis://…`, or the path of a folder."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from agents_sessions.errors import MissingExtraError
from agents_sessions.stores.base import SessionStore

Option = Callable[[str], Any]

_TRUE, _FALSE = ("1", "true", "yes"), ("0", "false", "no")


def _flag(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f"must be 1 or 0, not {text!r:.40}")
    return text in _TRUE


class _Kind(NamedTuple):
    """What a scheme stands for."""

    module: str
    name: str
    extra: str | None
    options: Mapping[str, Option]
    """What a URL may say behind its `?`. All else there is for the driver."""
    takes_more: bool = True
    defaults: Mapping[str, Any] = {}


_DATABASE: dict[str, Option] = {"durability": str, "create_tables": _flag, "table_prefix": str}
_SERVER: dict[str, Option] = {"durability": str, "lease": float, "retry_for": float}

_FILE = _Kind("file.store", "FileStore", None, {"durability": str}, takes_more=False)
_SQLITE = _Kind("sqlite.store", "SQLiteStore", None, _DATABASE, takes_more=False)
_POSTGRES = _Kind(
    "postgres.store",
    "PostgresStore",
    "postgres",
    {**_DATABASE, **_SERVER, "schema": str},
    defaults={"create_tables": True},
)
_REDIS = _Kind("redis.store", "RedisStore", "redis", {**_SERVER, "key_prefix": str, "ttl": float})

_KINDS = {
    "file": _FILE,
    "sqlite": _SQLITE,
    "postgresql": _POSTGRES,
    "postgres": _POSTGRES,
    "redis": _REDIS,
    "rediss": _REDIS,
    "valkey": _REDIS,
    "valkeys": _REDIS,
    "unix": _REDIS,
}
_SPELLED = {"postgres": "postgresql", "valkey": "redis", "valkeys": "rediss"}


def store_from_url(url: str | os.PathLike[str], **options: Any) -> SessionStore:
    """Return the store of a URL; a text without `://` is the folder of a `FileStore`.

    Tables that are missing are made, unless the URL says `?create_tables=0`. Other options of the store's class may
    stand there too (`?durability=process&lease=60`), or be given as arguments, which win.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db`, `postgresql://user@host/database`,
            `redis://host:6379/0`, `rediss://…`, `unix:///socket`, `file:///folder`, or a path.
        options: Arguments of the store's class.

    Raises:
        MissingExtraError: The package that speaks to it is not installed.
        ValueError: The scheme is unknown, or an option is.
    """
    text = os.fspath(url)
    scheme, is_url, _ = text.partition("://")
    if not is_url or not isinstance(url, str):
        return _made(_FILE, text, options)
    kind = _KINDS.get(scheme.partition("+")[0].lower())  # a driver's name, as in postgresql+asyncpg, says nothing here
    if kind is None:
        known = ", ".join(f"{each}://" for each in _KINDS)
        raise ValueError(f"no store has the scheme {scheme!r:.40}; known are {known}, or the path of a folder")
    where, given = _split(kind, text)
    return _made(kind, where, {**kind.defaults, **given, **options})


def _split(kind: _Kind, url: str) -> tuple[str, dict[str, Any]]:
    """Return what the class of a store takes, and the options that the URL names."""
    parts = urlsplit(url)
    scheme = parts.scheme.partition("+")[0]
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    given = {name: _read(name, text, kind.options[name]) for name, text in pairs if name in kind.options}
    rest = [(name, text) for name, text in pairs if name not in kind.options]
    if rest and not kind.takes_more:
        known = ", ".join(sorted(kind.options))
        raise ValueError(f"{scheme}:// has no option {rest[0][0]!r:.40}; it has {known}")
    if kind.takes_more:
        query = f"?{urlencode(rest)}" if rest else ""
        return f"{_SPELLED.get(scheme, scheme)}://{parts.netloc}{parts.path}{query}", given
    if parts.netloc:
        raise ValueError(
            f"{scheme}:// is followed by a third slash: {scheme}:///sessions, not {scheme}://{parts.netloc}"
        )
    path = unquote(parts.path)
    return path.removeprefix("/") if kind is _SQLITE else path, given


def _read(name: str, text: str, option: Option) -> Any:
    try:
        return option(text)
    except ValueError as error:
        raise ValueError(f"the option {name} of the URL {error}") from None


def _made(kind: _Kind, where: str, options: Mapping[str, Any]) -> SessionStore:
    try:
        module = import_module(f"agents_sessions.stores.{kind.module}")
    except ImportError as error:
        if kind.extra is None or (error.name or "").startswith("agents_sessions"):
            raise
        raise MissingExtraError(kind.name, kind.extra) from error
    store: SessionStore = getattr(module, kind.name)(where, **options)
    return store
