"""What a look at the health of a store can find: one type for all, whoever looks."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from agents_sessions.keys import SessionKey

Severity = Literal["info", "warning", "error"]
"""`error`: content cannot be read, or may be wrong. `warning`: something should be done. `info`: good to know."""


class Meaning(NamedTuple):
    """What a code says."""

    severity: Severity
    means: str
    repair: str | None = None
    """What `repair` would do; None if that is for a person."""


MEANINGS: dict[str, Meaning] = {
    # --- the bytes of files ---
    "torn-file": Meaning(
        "warning",
        "a process or the power died in the middle of an append; all that was acknowledged is there",
        "write the file anew up to the last whole append",
    ),
    "edited-file": Meaning(
        "info", "someone has edited the file; it is read as it stands", "write it anew in our own shape"
    ),
    "damaged-file": Meaning(
        "error",
        "the file is damaged and cannot be read; the session is left out of listings",
        "empty the session and keep the damaged file beside it",
    ),
    "damaged-line": Meaning(
        "error", "a line of the history does not agree with its checksum: the disk or someone has changed it"
    ),
    "newer-file": Meaning("warning", "a newer version of agents-sessions wrote the file; update to read it"),
    "unreadable-file": Meaning("error", "the system or a link keeps the file from being read"),
    "misnamed-file": Meaning(
        "error", "the ids in the file are not those of its name: it was renamed or copied by hand; rename it back"
    ),
    "stale-temporary": Meaning("info", "a process died while it wrote; what it left is of no use", "remove it"),
    "orphan-sidecars": Meaning("warning", "documents lie here whose session is gone", "remove them"),
    "orphan-lock": Meaning("info", "a process died during a turn and left its lock, which is free", "remove it"),
    "torn-copy": Meaning("info", "a repair has kept what was damaged; remove it when you no longer need it"),
    "exposed-file": Meaning(
        "warning",
        "other users of this machine can read it",
        "take their rights away: 0600 for files, 0700 for folders",
    ),
    "no-locks": Meaning("error", "the file system takes no locks (flock): two processes can damage a session"),
    "no-links": Meaning("error", "the file system takes no hard links: new sessions cannot appear whole"),
    "little-room": Meaning("warning", "less than 64 MB are free on the disk"),
    # --- what histories say ---
    "interrupted-turn": Meaning(
        "warning", "the process of a turn died before its end was stored", "store that it was interrupted"
    ),
    "unanswered-call": Meaning(
        "warning", "a tool call has no output: the model may make it again", "store an output that says so"
    ),
    "orphan-output": Meaning(
        "warning", "an output has no call: a service may refuse the whole history", "remove the output"
    ),
    "lost-approval": Meaning(
        "warning",
        "a turn awaits approval, and its calls or what was kept of its run are gone",
        "end the turn as given up",
    ),
    "wrong-totals": Meaning("warning", "the totals are not those of the history", "count them again"),
    # --- what was derived or put away ---
    "catalog-drift": Meaning(
        "warning", "the index does not agree with the session; remove the folder `.catalog`, and it is built anew"
    ),
    "missing-archive": Meaning("error", "the archived history is not where the session says that it is"),
    "damaged-archive": Meaning("error", "the archived history cannot be read back"),
    "orphan-archive": Meaning("info", "an archived history has no session: it was restored, or removed by hand"),
}
"""All codes, the same for every store."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. It holds no content of a conversation."""

    code: str
    """One of `MEANINGS`: stable, for programs."""
    key: SessionKey | None = None
    """The session that it is about, if it is about one."""
    place: str = ""
    """The file or folder below the root, the call, or whatever else says where."""
    detail: str = ""
    """What more there is to say of it."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return MEANINGS[self.code].severity

    @property
    def means(self) -> str:
        """What it means, in a sentence."""
        return MEANINGS[self.code].means

    @property
    def repair(self) -> str | None:
        """What `repair` would do about it; None if it can do nothing."""
        return MEANINGS[self.code].repair

    def __str__(self) -> str:
        who = "" if self.key is None else f" session {self.key.session_id!r} of agent {self.key.agent_id!r}"
        where = f" {self.place}" if self.place else ""
        more = f" ({self.detail})" if self.detail else ""
        return f"{self.severity} {self.code}{who}{where}: {self.means}{more}"
