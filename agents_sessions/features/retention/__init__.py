"""Remove old sessions by rules that say what is kept, shown before they act.

Read them in this order:

    policy       the rules, and what they make of some sessions: pure
    journal      the log of what went
    retention    preview, apply, clean up, and the schedule

Nothing is removed unless someone asks for it.
"""
