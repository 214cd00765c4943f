"""Where sessions are kept: one file per backend, all under the contract of `agents_sessions.stores.base`."""
