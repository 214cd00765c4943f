"""Sessions in one SQLite file.

schema      tables, and views that are pleasant to query by hand
database    connections, transactions, and the lock that makes writers take turns
engine      the verbs of a store, as SQL
store       `SQLiteStore`
"""
