"""Waiting, threads and forks. Nothing here knows of sessions."""
