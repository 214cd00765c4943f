"""The command line `agents-sessions`: it reads what was typed, calls what the package offers, and shows the answer.

    main          the entry: which extra is missing, and what an error becomes outside
    app           all commands by group, with the modules that have them
    settings      the options that every command has: which root, JSON or text, whether to ask
    desk          a session manager without turns: it does not import the SDK
    screen        text that cannot steer the terminal, tables, JSON, and the pager
    conversation  entries of a history as people read them
    reading, changing, removing, branching, transferring, health, chatting     the commands

Only `chatting`, and `demo` for it, import the SDK, when a chat begins.
"""
