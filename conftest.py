"""Run every Python block of README and docs, with a local transport in the place of the model."""

from pathlib import Path

import agents
import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from agents_sessions.testing import LocalResponses, assistant_message

pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser()],
    patterns=["README.md", "docs/*.md"],
    fixtures=["offline"],
).pytest()


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working folder, and a model that always says the same."""
    monkeypatch.chdir(tmp_path)
    agents.set_tracing_disabled(disabled=True)
    agents.set_default_openai_client(
        LocalResponses(lambda _request: assistant_message("Noted.")).client(), use_for_tracing=False
    )
