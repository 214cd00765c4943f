"""Formats of others: each module makes sessions of ours from one of them, and says what it could not take along."""
