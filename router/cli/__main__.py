"""``python -m router.cli`` is ``tollgate``."""

from __future__ import annotations

from router.cli import main

main()
