"""The only system calls of the file store. Nothing above makes any.

    syscalls     plain calls on descriptors, without following links
    locks        locks on files, which end with the process that holds them
    atomic       changes that happen whole or not at all: append, replace, publish, remove

A test lets each call in these modules fail in turn: `tests/trust/test_faults.py` finds them in their text.
"""
