"""The bytes of a session file. Pure: these modules take bytes and return bytes or values, and touch no disk.

::

    {"format":"agents-sessions/1","id":…,"salt":"5d0c91aa","history":[        the header line
     {"seq":1,"crc":"9f31ab20","at":…,"item":{…}}                               one entry a line, comma first
    ,{"seq":2,"k":1,"n":2,"crc":"0c77d1e4","at":…,"item":{…}}                  two entries of one batch
    ,{"seq":3,"k":2,"n":2,"crc":"88a1e02b","at":…,"item":{…}}
    ],"context":{…},"updated_at":…,"seal":{"seq":3,"body":…,"start":…,"end":…,"crc":…}}       the tail

An append overwrites the tail with new lines and a new tail; the bytes above the tail never change. The seal proves the
file whole without its history being read: its checksum covers the header, the last batch and the tail. Where the seal
does not hold, a person edited the file, an append was torn, or the file is damaged. `docs/file-format.md` gives the
reasons.

Each floor imports from the floors above it in this table. Read the modules from top to bottom, and on one floor from
left to right:

    header                           the first line
    lines, computed                  entries as lines; what a tail says, computed without it
    tail, verify                     the last line with its seal; batches that prove themselves without a seal
    sealed, document                 reading a file whose seal holds; a whole session and the file that it makes
    append, edited, mixed, torn      adding a batch; what a person left; JSON of two writes; what a torn append left
    reading                          the way in for a whole file, whatever happened to it
"""
