"""Where lines and state are kept. One adapter a store; none knows another."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from router.errors import ConfigError
from router.stores.sqlite import SqliteLedger

if TYPE_CHECKING:
    from router.ports import Ledger


async def open_ledger(url: str) -> Ledger:
    """The ledger of a URL, such as ``sqlite:////var/lib/tollgate/ledger.sqlite``. Raises ConfigError and StoreError."""
    if not url.startswith("sqlite:///"):
        raise ConfigError("TOLLGATE_LEDGER_URL: only sqlite:/// is available in this version")
    path = Path(url.removeprefix("sqlite:///"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path.parent}: cannot hold the ledger: {error.strerror}") from error
    return await SqliteLedger.open(path, writer_id=uuid.uuid4().hex)
