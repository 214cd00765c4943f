"""Figures of `agents_sessions` beside those of the SDK's `SQLiteSession`: `make bench`."""
