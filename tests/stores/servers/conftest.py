import os
import socket

import pytest
from backends import Postgres, Redis
from servers import postgres, running, valkey


@pytest.fixture(scope="session")
def postgres_dsn():
    if dsn := os.environ.get("AGENTS_SESSIONS_TEST_POSTGRES"):
        yield dsn
        return
    with running(postgres) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url():
    if url := os.environ.get("AGENTS_SESSIONS_TEST_REDIS"):
        yield url
        return
    with running(valkey) as server:
        yield server.url


@pytest.fixture(params=["postgres", "redis"])
def backend(request):
    """A server that other tests use too, without any session."""
    fixture, kind = {"postgres": ("postgres_dsn", Postgres), "redis": ("redis_url", Redis)}[request.param]
    backend = kind(request.getfixturevalue(fixture))
    backend.empty()
    return backend


@pytest.fixture
def postgres_backend(postgres_dsn):
    backend = Postgres(postgres_dsn)
    backend.empty()
    return backend


@pytest.fixture
def redis_backend(redis_url):
    backend = Redis(redis_url)
    backend.empty()
    return backend


@pytest.fixture
def unused_port():
    """A port of a Cluster, which has another one 10,000 above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            if (port := probe.getsockname()[1]) < 50_000:
                return port
