"""Where sessions are kept: one module or folder per backend, all under one contract.

    base                 the contract: `SessionStore`, and the values that go in and out
    transitions          pure: what create, append and rewrite make of a session, the same for every backend
    codec                how entries, facts and sidecars become bytes
    encryption/          the codec that encrypts, and the keys that it asks for
    kit                  all of this in one import, for authors of backends: `docs/writing-a-store.md`
    memory, file/        the backends; `memory` is the shorter one to read first

The contract stands once, in `base`, and in executable form in `agents_sessions.testing.contract`.
"""
