"""``python -m ossmp_jupyter.localoss``: print one JSON line when ready, then serve."""

from __future__ import annotations

import sys

from ossmp_jupyter.localoss.cli import main

if __name__ == "__main__":
    sys.exit(main())
