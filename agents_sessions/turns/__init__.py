"""One turn on one session: which agent, under which lock, recorded how.

Each floor imports from those above it in this table:

    events, lock, options, past, sdk_internals     what listeners hear; one turn at a time; how a turn is run; what
                                                   the entries of a turn say; the private parts of the SDK
    agents, ledger, request                        which `Agent` a name means; what a run leaves in the history, before
                                                   it is stored; what a caller wants
    hooks, recorder, approvals                     the hooks and the session that the Runner is given; the turn that
                                                   awaits approval
    plan, reply                                    which agent and which input; what comes back
    turn                                           a turn from its lock to its end
    stream                                         the same with events

Read `turn` first: its docstring is the road. `past` and `ledger` are pure, and hold the rules.
"""
