"""Makes the README's picture out of what a terminal really showed.

tmux capture-pane -ep | python tools/picture.py docs/demo.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 118

lines = [line for line in sys.stdin.read().splitlines() if not line.startswith(("WARNING:", "make:"))]
while lines and not lines[0].strip():
    lines.pop(0)
console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
console.print(Text.from_ansi("\n".join(lines).strip("\n")))
picture = console.export_svg(title="make demo", unique_id="demo")
# fonts are the reader's own: the picture loads nothing
Path(sys.argv[1]).write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL))
