"""Sessions in Redis or Valkey.

    scripts     every change of a session as one script of the server
    database    the client, how durable the server is, and what is done where a connection is lost
    engine      the verbs of a store
    store       `RedisStore`

The keys of one session have one hash tag, so that they lie in one slot of a Cluster:

    {prefix}:{agent/session}:h    hash: the head, and who holds the lock of its turns
    {prefix}:{agent/session}:e    list: one line per entry
    {prefix}:{agent/session}:s    hash: the sidecars
    {prefix}:agents               sorted set: the agents
    {prefix}:a:{agent}            sorted set: the sessions of an agent
    {prefix}:aside                hash: what was set aside
    {prefix}:r:{session}          the right to make a session of an id

The sorted sets are in other slots, so no script can change them with a session. A session is noted there before it is
made, and forgotten after it is gone; who reads them leaves out what is not there. So none is ever missing.
"""
