"""The lock of a turn as a lease in the server that keeps the sessions: for processes on several machines.

    lease     one lease, and the engine verbs that it needs
    keeper    the thread that renews the leases of an engine
    store     `LeaseStore`: a store whose turns hold leases

Only the server's clock says whether a lease has ended. Each new holder gets a larger number, the fence, and every write
of a turn carries it: a holder that slept through its lease finds a larger one there and stores nothing.
"""
