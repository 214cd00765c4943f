"""For the tests of applications and of stores. Nothing here is needed at run time.

    responses     a model on the wire without a service: builders of answers, and `LocalResponses` to play them
    contract/     `StoreContract`: the contract of a store as a test suite, in one module per subject

A name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents_sessions.testing.contract import StoreContract as StoreContract
    from agents_sessions.testing.responses import ErrorAnswer as ErrorAnswer
    from agents_sessions.testing.responses import LocalResponses as LocalResponses
    from agents_sessions.testing.responses import assistant_message as assistant_message
    from agents_sessions.testing.responses import function_call as function_call
    from agents_sessions.testing.responses import handoff as handoff
    from agents_sessions.testing.responses import http_error as http_error
    from agents_sessions.testing.responses import response as response
    from agents_sessions.testing.responses import sse as sse
    from agents_sessions.testing.responses import token_usage as token_usage

_HOME = {
    "ErrorAnswer": "responses",
    "LocalResponses": "responses",
    "StoreContract": "contract",
    "http_error": "responses",
    "function_call": "responses",
    "handoff": "responses",
    "assistant_message": "responses",
    "response": "responses",
    "sse": "responses",
    "token_usage": "responses",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
