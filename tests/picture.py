# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/run.svg from what a run of `make site` printed: `make picture`. Its empty lines and the asterisks that fill lines are left out."""
from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich import _export_format
from rich.console import Console
from rich.text import Text

WIDTH = 120
# Fonts of the reader's own, instead of some from a server.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", _export_format.CONSOLE_SVG_FORMAT, flags=re.DOTALL)


def drawn(printed: str, title: str) -> str:
    """The SVG of a terminal that shows the text, with its colours."""
    lines = [re.sub(r" \*{3,}", "", line) for line in printed.splitlines() if re.sub(r"\x1b\[[0-9;]*m", "", line).strip()]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis", crop=True)
    return console.export_svg(title=title, code_format=FORMAT, unique_id="run")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(drawn(sys.stdin.read(), "make site"), encoding="utf-8")
