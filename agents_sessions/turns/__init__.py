"""One turn on one session: which agent, under which lock, recorded how.

Read it from the pure floor up: `past` and `ledger` know what entries say and what a run adds to them; `request` and
`options` say what a caller wants; `lock`, `agents`, `hooks`, `recorder` and `approvals` are the parts of one turn;
`plan` chooses, `turn` runs, `stream` runs with events.
"""
