"""Write docs/cli.md from the help of the command line, or with `--check` say whether it is as it would be written."""

import re
import sys
from pathlib import Path

from agents_sessions.cli.app import app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"


def page() -> str:
    """Return the page."""
    text = app(whole=True).generate_docs(output_format="markdown", heading_level=1)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip() for line in text.splitlines())) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(None if PAGE.read_text() == page() else "docs/cli.md is old: run python tools/cli_docs.py")
    PAGE.write_text(page())
