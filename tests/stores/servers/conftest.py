import os

import pytest
from servers import postgres, running, valkey


@pytest.fixture(scope="session")
def postgres_dsn():
    if dsn := os.environ.get("AGENTS_SESSIONS_TEST_POSTGRES"):
        yield dsn
        return
    with running(postgres) as server:
        yield server.dsn


@pytest.fixture(scope="session")
def redis_url():
    if url := os.environ.get("AGENTS_SESSIONS_TEST_REDIS"):
        yield url
        return
    with running(valkey) as server:
        yield server.url
