"""The only system calls of the file store."""
