"""Look for what is not as it should be, and repair it.

Read them in this order:

    histories      what is wrong in a history: pure
    backups        copies of what repairs have touched
    report         a check as Markdown, without content
    diagnostics    check, repair, report

What is wrong with files or tables, the stores find themselves.
"""
