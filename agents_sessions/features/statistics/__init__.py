"""What sessions have done, and what that has cost: `manager.statistics`.

    prices        what a model costs: what the user says, else the list of a package
    figures       what statistics are made of: frozen values
    money         prices times tokens, and how much of them is known
    markdown      figures as text for people
    report        what users get: all figures of one session, or of many
    tally         the spend of many sessions, added up
    statistics    the noun of the manager

Nothing of it is stored. The ground is `model.spend`, which every store can tell of its sessions.
"""
