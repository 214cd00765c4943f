"""What a session is made of: pure values, nothing that waits or stores.

Read it from the ground up; each floor imports from those above it in this table:

    lossless_json, usage     JSON that comes back as it was; what model requests have cost
    ids                      what an id or the name of a sidecar may be
    entries                  one line of a history: an item of the SDK, or a record of ours
    totals                   the sum of a history's entries, kept as it grows
    info, history            a session without its history; its entries as users see them
    query                    a question about many sessions, answered in pages
"""
