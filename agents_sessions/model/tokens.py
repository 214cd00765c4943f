"""About how many tokens some items are, without a tokenizer: those need the network, and differ from model to model."""

from collections.abc import Iterable

from agents_sessions.model.lossless_json import Json

CHARACTERS = 4
"""How many characters a token has, about."""
MEDIA_TOKENS = 1000
"""What a picture or a file that is inside an item counts, whatever its size."""


def estimated_tokens(items: Iterable[Json]) -> int:
    """Return about how many tokens some items are: the characters of all their texts, by four."""
    return sum(map(_characters, items)) // CHARACTERS


def _characters(value: Json) -> int:
    if isinstance(value, str):
        return MEDIA_TOKENS * CHARACTERS if value.startswith("data:") else len(value)
    if isinstance(value, dict):
        return sum(map(_characters, value.values()))
    return sum(map(_characters, value)) if isinstance(value, list) else 0
