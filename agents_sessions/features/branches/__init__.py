"""Branches of conversations: `manager.branches`.

forking      the facts and the view of a session that begins as the copy of another one
family       the tree that forks make, as data and as text
comparing    what two branches have in common, and what each has beyond it
merging      what a branch has said, brought home
branches     what users call
"""
