"""The tables of a PostgreSQL schema, and its views: `sessions` and `messages` are for people.

Text, and not jsonb: it keeps what it is given to the last byte, and nothing in the database looks into it. Ids have the
collation "C", so that their order is the same on every server.
"""

VERSION = 1

TABLES = (
    "CREATE TABLE {t}meta (version int NOT NULL)",
    """CREATE TABLE {t}session (
    pk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id text COLLATE "C" NOT NULL,
    session_id text COLLATE "C" NOT NULL,
    ident text NOT NULL,
    version bigint NOT NULL,
    facts text NOT NULL,
    seq bigint NOT NULL,
    updated_at text COLLATE "C" NOT NULL,
    totals text NOT NULL,
    state text,
    user_id text COLLATE "C",
    status text COLLATE "C",
    name text COLLATE "C",
    created_at text COLLATE "C" NOT NULL,
    last_active_at text COLLATE "C" NOT NULL,
    ops text NOT NULL DEFAULT '',
    fence bigint NOT NULL DEFAULT 0,
    holder text,
    holder_name text,
    held_since timestamptz,
    lease_until timestamptz,
    aside text,
    aside_at text,
    aside_note text
) WITH (fillfactor = 70)""",
    "CREATE UNIQUE INDEX {p}session_key ON {t}session (agent_id, session_id) WHERE aside IS NULL",
    "CREATE UNIQUE INDEX {p}session_aside ON {t}session (aside) WHERE aside IS NOT NULL",
    "CREATE INDEX {p}session_id ON {t}session (session_id)",
    "CREATE INDEX {p}session_active ON {t}session (last_active_at DESC, agent_id, session_id)",
    """CREATE TABLE {t}entry (
    session bigint NOT NULL REFERENCES {t}session ON DELETE CASCADE,
    seq bigint NOT NULL,
    line text NOT NULL,
    PRIMARY KEY (session, seq)
)""",
    """CREATE TABLE {t}sidecar (
    session bigint NOT NULL REFERENCES {t}session ON DELETE CASCADE,
    name text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (session, name)
)""",
    """CREATE TABLE {t}reservation (
    session_id text COLLATE "C" PRIMARY KEY,
    holder text NOT NULL,
    until timestamptz NOT NULL
)""",
    """CREATE VIEW {t}sessions AS SELECT
    agent_id, session_id, user_id, name, status, created_at, updated_at, last_active_at, seq,
    (totals::json ->> 'items')::bigint AS items,
    (totals::json ->> 'turns')::bigint AS turns,
    (totals::json ->> 'requests')::bigint AS requests,
    (totals::json ->> 'total_tokens')::numeric AS total_tokens,
    totals::json ->> 'last_agent' AS last_agent,
    facts::json -> 'metadata' AS metadata
FROM {t}session WHERE aside IS NULL""",
    """CREATE VIEW {t}messages AS SELECT
    s.agent_id, s.session_id, e.seq,
    e.line::json ->> 'at' AS at,
    e.line::json ->> 'agent' AS agent,
    e.line::json #>> '{{item,role}}' AS role,
    CASE json_typeof(e.line::json #> '{{item,content}}')
        WHEN 'array' THEN (SELECT string_agg(part ->> 'text', '')
                           FROM json_array_elements(e.line::json #> '{{item,content}}') AS part)
        ELSE e.line::json #>> '{{item,content}}'
    END AS text
FROM {t}entry AS e JOIN {t}session AS s ON s.pk = e.session
WHERE s.aside IS NULL AND e.line::json #>> '{{item,role}}' IS NOT NULL""",
    "INSERT INTO {t}meta VALUES (1)",
)
