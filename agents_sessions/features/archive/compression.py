"""Bytes to smaller bytes and back, in a stream: zstd where it is installed, else gzip."""

from __future__ import annotations

import sys
import zlib
from types import ModuleType
from typing import Protocol

from agents_sessions.errors import MissingExtraError

ZSTD, GZIP = "zst", "gz"
"""The two kinds, as the ends of file names."""

_ZSTD_LEVEL = 3
_GZIP_LEVEL = 4
_GZIP_FORMAT = 31
"""What `zlib` calls a gzip header and trailer around the largest window."""


class Compressor(Protocol):
    """Takes bytes, and gives smaller ones."""

    def compress(self, data: bytes, /) -> bytes:
        """Return some of what there is to write by now."""

    def flush(self) -> bytes:
        """Return the rest, with a checksum of all that went in."""


class Decompressor(Protocol):
    """Takes what a compressor gave."""

    @property
    def eof(self) -> bool:
        """Whether the end was read, and the checksum agreed."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what comes of some more bytes."""


def best_kind() -> str:
    """Return the best kind that is installed."""
    return GZIP if _zstd() is None else ZSTD


def compressor(kind: str) -> Compressor:
    """Return a compressor of a kind that is installed."""
    if kind == GZIP:
        return zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    zstd = _needed()
    settings = {zstd.CompressionParameter.compression_level: _ZSTD_LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    made: Compressor = zstd.ZstdCompressor(options=settings)
    return made


def decompressor(kind: str) -> Decompressor:
    """Return a decompressor.

    Raises:
        MissingExtraError: It was compressed with zstd, which is not installed here.
    """
    if kind == GZIP:
        return zlib.decompressobj(_GZIP_FORMAT)
    made: Decompressor = _needed().ZstdDecompressor()
    return made


def failures() -> tuple[type[Exception], ...]:
    """Return what a decompressor raises for bytes that no compressor gave."""
    zstd = _zstd()
    return (zlib.error, EOFError) if zstd is None else (zlib.error, EOFError, zstd.ZstdError)


def _needed() -> ModuleType:
    zstd = _zstd()
    if zstd is None:
        raise MissingExtraError("an archive in zstd", "archive")
    return zstd


def _zstd() -> ModuleType | None:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
    except ImportError:
        return None
    found: ModuleType = zstd
    return found
