"""Sessions in PostgreSQL.

schema      tables, and views that are pleasant to query by hand
database    connections, and what is done where one is lost
statements  the SQL of every verb
engine      the verbs of a store
store       `PostgresStore`
"""
