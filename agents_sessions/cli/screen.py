"""What reaches the terminal: text that cannot steer it, tables, JSON, and a pager for what is long."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

NARROW = 60
"""Below so many columns a row of a table takes two lines."""

# Controls but tab and newline, and the marks that turn the direction of what follows or cannot be seen.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return a text in which nothing can steer a terminal: what would is shown as a sign or a number."""
    return _STEERING.sub(lambda found: _sign(ord(found[0])), text.replace("\r\n", "\n"))


def on_one_line(text: str) -> str:
    """Return a text as one line, with nothing in it that steers."""
    return visible(" ".join(text.split()))


def _sign(code: int) -> str:
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else f"<U+{code:04X}>"


def moment(at: datetime) -> str:
    """Return a time as people read it: the whole date, in the zone of this machine."""
    return f"{at.astimezone():%Y-%m-%d %H:%M}"


def size_of(count: int) -> str:
    """Return a number of bytes for people."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Let who has opened the pipe decide: rich would end the program with exit code 1."""
        raise BrokenPipeError


class Screen:
    """Shows answers on the standard output."""

    def __init__(self, file: IO[str] | None = None, *, width: int | None = None, terminal: bool | None = None) -> None:
        dumb = os.environ.get("TERM") == "dumb" or "NO_COLOR" in os.environ
        self.is_terminal = (file or sys.stdout).isatty() if terminal is None else terminal
        self.console = _Console(
            file=file,
            width=width,
            force_terminal=self.is_terminal,
            color_system=None if dumb or not self.is_terminal else "standard",
            highlight=False,
            markup=False,
            emoji=False,
        )

    @property
    def width(self) -> int:
        """Columns."""
        return self.console.width

    def line(self, *parts: str | tuple[str, str]) -> None:
        """Show a line of texts, each plain or with a style; a pipe gets it whole."""
        text = Text()
        for part in parts:
            said, style = (part, "") if isinstance(part, str) else part
            text.append(visible(said), style)
        indent = len(text.plain) - len(text.plain.lstrip(" "))
        if self.is_terminal and indent:  # what does not fit on the line goes on below its beginning
            self.console.print(Padding(text[indent:], (0, 0, 0, indent), expand=False))
        else:
            self.console.print(text, soft_wrap=not self.is_terminal)

    def rows(self, head: Sequence[str], rows: Iterable[Sequence[str]], *, wide: int) -> None:
        """Show rows: a table in a terminal, where the column number `wide` takes what room there is; tabs in a pipe."""
        if not self.is_terminal:
            for row in rows:
                self.console.file.write("\t".join(map(on_one_line, row)) + "\n")  # rich would make blanks of tabs
        elif self.width < NARROW:
            self._narrow(rows, wide)
        else:
            self._table(head, rows, wide)

    def _table(self, head: Sequence[str], rows: Iterable[Sequence[str]], wide: int) -> None:
        table = Table(box=None, pad_edge=False, header_style="bold", expand=False)
        cells = [[on_one_line(cell) for cell in row] for row in rows]
        for number, name in enumerate(head):
            least = max(cell_len(row[number]) for row in [head, *cells]) if number != wide else None
            style = "cyan" if number == 0 else None
            table.add_column(name, no_wrap=True, overflow="ellipsis", style=style, min_width=least)
        for row in cells:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def _narrow(self, rows: Iterable[Sequence[str]], wide: int) -> None:
        for row in rows:
            first = Text(on_one_line(row[0]), "cyan")
            others = [cell for number, cell in enumerate(row) if number not in (0, wide) and cell]
            first.append("  " + on_one_line("  ".join(others)), "dim")
            for text in (first, Text("  " + on_one_line(row[wide]))):
                self.console.print(text, no_wrap=True, overflow="ellipsis")

    def markdown(self, text: str) -> None:
        """Show Markdown of ours: laid out in a terminal, as it is in a pipe."""
        if not self.is_terminal:
            self.console.out(visible(text), highlight=False)
            return
        from rich.markdown import Markdown

        self.console.print(Markdown(visible(text)))

    def raw(self, text: str) -> None:
        """Show a text without any layout."""
        self.console.out(visible(text), highlight=False)

    def json(self, value: Any) -> None:
        """Print a document. All but ASCII is escaped, so that it can steer nothing either."""
        self.console.file.write(json.dumps(value, indent=2, default=str) + "\n")

    def json_line(self, value: Any) -> None:
        """Print one object of a stream."""
        self.console.file.write(json.dumps(value, default=str) + "\n")

    @contextlib.contextmanager
    def paged(self) -> Iterator[Screen]:
        """Give a screen that scrolls, if this is a terminal and there is a pager. It takes what comes as it comes."""
        pager = shlex.split(os.environ.get("PAGER", "less"))
        if not self.is_terminal or not sys.stdin.isatty() or not pager or shutil.which(pager[0]) is None:
            yield self
            return
        environment = {"LESS": "-RFX", **os.environ}
        process = subprocess.Popen(pager, stdin=subprocess.PIPE, text=True, errors="replace", env=environment)  # noqa: S603 -- the user's own choice
        with contextlib.suppress(BrokenPipeError):  # who leaves the pager has seen enough
            try:
                yield Screen(process.stdin, width=self.width, terminal=True)
            finally:
                with contextlib.suppress(BrokenPipeError):
                    process.communicate()
