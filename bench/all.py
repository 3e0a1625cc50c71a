"""Every measured claim, one after the other: `make bench`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

for bench in sorted(Path(__file__).parent.glob("*.py")):
    if bench.name != "all.py":
        print(f"\n== {bench.name} ==", flush=True)
        subprocess.run([sys.executable, str(bench)], check=True)
