"""Small documents beside a session, each replaced as a whole, in a folder that comes and goes with the session.

Whether there is the session, and whose file it is, the caller has found out before.
"""

import contextlib
from collections.abc import Mapping

from agents_sessions.stores.file.disk.atomic import hide, is_private_tree, remove_tree, replace, sweep
from agents_sessions.stores.file.disk.locks import held
from agents_sessions.stores.file.disk.syscalls import (
    NotRegular,
    directory,
    exists,
    folders,
    is_folder,
    make_directory,
    names,
    remove_empty_folder,
    sync_directory,
)
from agents_sessions.stores.file.layout import SidecarNames, beside, is_sidecar
from agents_sessions.stores.file.names import decode_name


def write(root: str, agent: int, where: tuple[str, ...], file: str, data: bytes, *, durable: bool) -> None:
    """Store a sidecar. `agent` is the open folder of its agent, and the caller holds the lock of its session."""
    if not exists(agent, where[1]):
        with held(agent):  # see `remove_all`
            make_directory(root, *where[:2], durable=False)
    sync_directory(agent, durable=durable)  # always: who made the folder may have been killed before
    with directory(root, *where, create=True, durable=durable) as folder:
        if len(where) > 2:
            with directory(root, *where[:2]) as above:
                sync_directory(above, durable=durable)
        sweep(folder)
        replace(folder, file, data, durable=durable)


def remove_empty(root: str, where: tuple[str, ...]) -> None:
    """Remove the folders of a sidecar that was removed, if nothing is left in them. The session's lock is held.

    It is not synced: an empty folder that a cut of the power brings back does no harm.
    """
    with contextlib.suppress(OSError, NotRegular):  # nor does one that stays
        for depth in range(len(where), 1, -1):
            with directory(root, *where[: depth - 1]) as above:
                if not remove_empty_folder(above, where[depth - 1]):
                    return


def prepare(root: str, documents: Mapping[SidecarNames, bytes], hidden: str, *, durable: bool) -> None:
    """Write the sidecars of a session that is being created into a folder that is out of sight."""
    for place, data in documents.items():
        agent, _, *inner = place.folders
        with directory(root, agent, hidden, *inner, create=True, durable=durable) as folder:
            replace(folder, place.file, data, durable=durable)


def listed(root: str, where: tuple[str, ...]) -> list[str]:
    """Return the names of the sidecars in a folder and those below it, sorted; none if there is no folder."""
    found: list[str] = []
    inner: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        with directory(root, *where) as folder:
            inner = folders(folder)
            found = [name for name in names(folder) if name not in inner]
    for part in inner:
        with contextlib.suppress(FileNotFoundError), directory(root, *where, part) as folder:
            found += [f"{part}/{name}" for name in names(folder)]
    return sorted(decode_name(name) for name in found if is_sidecar(name))


def remove_all(agent: int, session: str, *, durable: bool, only_ours: bool = False) -> None:
    """Remove the sidecars of a session that is gone, so that a new one of its name does not take them for its own.

    They are put out of the way under a lock of the folder, and the first sidecar of a session is made under the
    same lock: so none is taken that belongs to a session which another process has just made.

    Args:
        agent: The open folder of the session's agent.
        session: The name of the session's file.
        durable: Whether the removal is synced.
        only_ours: Whether a folder is left that no session can have made.

    Raises:
        NotRegular: `only_ours` is set, and the folder holds what no session put there.
    """
    name = beside(session)
    if not exists(agent, name):
        return
    with held(agent):
        if exists(agent, session):
            return
        if only_ours and is_folder(agent, name) and not is_private_tree(agent, name):
            raise NotRegular("a folder that is no session's stands where its sidecars would be")
        hidden = hide(agent, name)
    if hidden is not None:
        remove_tree(agent, hidden, durable=durable)
