# SPDX-FileCopyrightText: The servicemesh.istio authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/run.svg from what a run printed: `ANSIBLE_FORCE_COLOR=1 make -s site | python tests/picture.py "make site"
docs/run.svg`.

Left out are empty lines, the asterisks that fill lines, and tasks that only look at arguments, include others or are
skipped.
"""

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


COLOR = re.compile(r"\x1b\[[0-9;]*m")
SILENT = re.compile(r"Validating arguments against|^(included|skipping): ", re.MULTILINE)


def drawn(printed: str, title: str) -> str:
    """The SVG of a terminal that shows the text, with its colors."""
    parts = re.split(r"(?m)^(?=(?:TASK|PLAY) )", printed)
    shown = [part for part in parts if not SILENT.search(COLOR.sub("", part))]
    lines = [re.sub(r" \*{3,}", "", line) for line in "".join(shown).splitlines() if COLOR.sub("", line).strip()]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in lines:
        console.print(Text.from_ansi(line), no_wrap=True, overflow="ellipsis", crop=True)
    return console.export_svg(title=title, code_format=FORMAT, unique_id="run")


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(drawn(sys.stdin.read(), sys.argv[1]), encoding="utf-8")
