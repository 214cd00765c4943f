"""Sessions as rows, for every backend that is a database: one head per session, and one line per entry.

    text        ids and facts as text that any database takes
    head        what is kept of a session beside its lines, and how it is read
    questions   a `SessionQuery` as SQL
    engine      what a backend implements: a few synchronous verbs, each one transaction
    store       `RowStore`: the whole contract of a store, over an engine

Read them in this order.
"""
