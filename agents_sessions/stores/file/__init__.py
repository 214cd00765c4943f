"""Sessions as files below one folder."""
