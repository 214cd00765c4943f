"""Waiting, threads and forks. Nothing here knows of sessions.

Each floor imports from those above it in this table:

    asyncio_internals, forks           the private parts of asyncio; what a forked child can go on with
    settle, worker_threads             awaiting an operation to its outcome, whatever is cancelled; threads of our own
    fair_locks, recent                 first come, first served; a bounded memory of what was met last
    process                            everything that all stores of one process share, in one place and counted

`fair_locks` is the hard one: read its module docstring before its code.
"""
