"""The tables of a SQLite file, and its views: `sessions` and `messages` are for people."""

VERSION = 1

META = "CREATE TABLE IF NOT EXISTS {p}meta (version INTEGER NOT NULL)"

TABLES = (
    """CREATE TABLE {p}session (
    pk INTEGER PRIMARY KEY,
    agent_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    ident TEXT NOT NULL,
    version INTEGER NOT NULL,
    facts TEXT NOT NULL,
    seq INTEGER NOT NULL,
    updated_at TEXT NOT NULL,
    totals TEXT NOT NULL,
    state TEXT,
    user_id TEXT,
    status TEXT,
    name TEXT,
    created_at TEXT NOT NULL,
    last_active_at TEXT NOT NULL,
    aside TEXT UNIQUE,
    aside_at TEXT,
    aside_note TEXT
)""",
    "CREATE UNIQUE INDEX {p}session_key ON {p}session (agent_id, session_id) WHERE aside IS NULL",
    "CREATE INDEX {p}session_id ON {p}session (session_id)",
    "CREATE INDEX {p}session_active ON {p}session (last_active_at DESC, agent_id, session_id)",
    """CREATE TABLE {p}entry (
    session INTEGER NOT NULL REFERENCES {p}session ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (session, seq)
) WITHOUT ROWID""",
    """CREATE TABLE {p}sidecar (
    session INTEGER NOT NULL REFERENCES {p}session ON DELETE CASCADE,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (session, name)
)""",
    """CREATE VIEW {p}sessions AS SELECT
    agent_id, session_id, user_id, name, status, created_at, updated_at, last_active_at, seq,
    json_extract(totals, '$.items') AS items,
    json_extract(totals, '$.turns') AS turns,
    json_extract(totals, '$.requests') AS requests,
    json_extract(totals, '$.total_tokens') AS total_tokens,
    json_extract(totals, '$.last_agent') AS last_agent,
    json_extract(facts, '$.metadata') AS metadata
FROM {p}session WHERE aside IS NULL""",
    """CREATE VIEW {p}messages AS SELECT
    s.agent_id, s.session_id, e.seq,
    json_extract(e.line, '$.at') AS at,
    json_extract(e.line, '$.agent') AS agent,
    json_extract(e.line, '$.item.role') AS role,
    CASE json_type(e.line, '$.item.content')
        WHEN 'text' THEN json_extract(e.line, '$.item.content')
        ELSE (SELECT group_concat(json_extract(part.value, '$.text'), '')
              FROM json_each(e.line, '$.item.content') AS part)
    END AS text
FROM {p}entry AS e JOIN {p}session AS s ON s.pk = e.session
WHERE s.aside IS NULL AND json_extract(e.line, '$.item.role') IS NOT NULL""",
    "INSERT INTO {p}meta VALUES (1)",
)
