"""What the tests of the lowest modules ask the system: what is open, and what another process can lock."""

import contextlib
import fcntl
import os
import subprocess
import sys

LOCK = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
try:
    fcntl.flock(fd, int(sys.argv[2]) | fcntl.LOCK_NB)
    print("held", flush=True)
    sys.stdin.read()
except BlockingIOError:
    print("busy", flush=True)
"""


@contextlib.contextmanager
def other_process(path, how=fcntl.LOCK_EX):
    """Another process tries to lock a file, and holds it for as long as it is needed; tells how that went."""
    command = [sys.executable, "-S", "-c", LOCK, str(path), str(int(how))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def status_of(fd):
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def descriptors():
    """Return the open ones, without that of the listing itself."""
    return {fd: status for fd in map(int, os.listdir("/proc/self/fd")) if (status := status_of(fd))}
