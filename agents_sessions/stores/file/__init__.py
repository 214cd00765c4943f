"""Sessions as files below one folder, `<root>/<agent_id>/<session_id>.json`.

Each floor imports from those above it in this table:

    names, disk/syscalls, format/        ids as file names; the system calls; the bytes of a file
    layout, disk/locks                   which folder and file; locks on files
    disk/atomic, turn_lock               changes that happen whole or not at all; the lock of a session's turns
    limits, queries, errors              how large; what a session is read for; what went wrong, in terms of the session
    sidecars, aside, creation            what lies beside a session; sessions out of sight; a session made in parts
    reader, writer, files                the work on files, tried once, in the thread that asks
    store                                the backend: waits in the event loop, and hands the work to a thread

To follow one append, read `store.append`, `writer.append`, `format/append` and `disk/atomic`, in this order.
"""
