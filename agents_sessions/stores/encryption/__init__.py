"""Encryption at rest: what is stored of a session can be read with its key only.

Modules:
    keyring     master keys, and who may hold them
    choosing    which codec a store has
    sealing     the codec that seals what a session says, and binds each part to its place
"""
