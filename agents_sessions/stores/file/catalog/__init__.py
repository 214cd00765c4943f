"""What is in the sessions of a folder, in a SQLite database: derived, never the truth. Delete it, and it comes back.

It is brought up to date when a question is asked: the state of each file, as its folder tells it, is compared with the
one that the database knows, and only what differs is read; of a file that has grown, only its new lines. So a write
pays nothing for it, and what a person has edited, copied in or removed is noticed as well.

The database lies in `<root>/.catalog`. All that changes it holds the lock beside it. One that is damaged, or of another
version, is made anew. Where none can be written, or bodies are not stored plainly, it lives in memory.

Each floor imports from those above it in this table:

    rows                     the tables, and how values become columns
    database                 the connection: on the disk or in memory; what is damaged is made anew
    reading, questions       what one file holds that is new; the SQL of a query and of a search
    writing, answers         puts down what was read; what it answers once it is up to date
    catalog                  brings it up to date, some files at a time
"""
