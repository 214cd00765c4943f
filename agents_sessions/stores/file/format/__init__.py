"""The bytes of a session file. Pure: nothing here touches a disk."""
