"""Conversations that go out of a store and come in.

To be read in this order:

    values       options, limits, progress and reports: what callers give and get
    snapshot     a session as it is read: its facts at one moment, its history a page at a time
    document     the lossless document (json, jsonl), written and read as a stream: below the manager, for any store
    selection    leave out metadata, tool calls or usage; masking: hide secrets, or every text
    markdown, yaml_text, html, writers      what people read, and the choice among all formats
    files        a file appears whole or not at all
    exporting, bundle    a session to a text or a file; many to one zip
    sources, recognise   what is read, from where, and which format it is
    foreign/     databases of the SDK's own sessions, message lists, item lists
    placing      what comes in gets its place in the store: conflicts, and what to do if one fails
    importing, migrate   from texts, files, archives; from live sessions and whole stores
    transfer     `manager.transfer`: the façade of all this
"""
