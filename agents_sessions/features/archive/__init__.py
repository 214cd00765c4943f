"""Put histories away, compressed, and bring them back.

Read them in this order:

    compression    bytes to smaller bytes, in a stream
    shelf          the files of the archive: written whole, verified, read back
    archive        what users call

All of it works through the contract of a store.
"""
