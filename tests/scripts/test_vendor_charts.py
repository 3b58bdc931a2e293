"""The chart library is the published package, byte for byte."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from scripts.vendor_charts import FOLDER, TAKEN, findings_of

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_committed_is_what_was_published() -> None:
    assert findings_of(FOLDER) == []
    record = json.loads((FOLDER / "vendor.json").read_text())
    assert set(record) == {"package", "version", "license", "sha256", "files"}
    assert set(record["files"]) == set(TAKEN.values())
    assert "MIT" in (FOLDER / "uPlot.LICENSE.txt").read_text()
    assert record["version"] in (FOLDER / "uPlot.iife.min.js").read_text()[:200]


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("uPlot.iife.min.js", b"changed", "uPlot.iife.min.js: is not the file that was published; run with --fetch"),
        ("uPlot.LICENSE.txt", None, "uPlot.LICENSE.txt: is missing; run with --fetch"),
        ("more.js", b"", "more.js: is not in vendor.json"),
    ],
)
def test_every_difference_is_found_and_named(tmp_path: Path, name: str, content: bytes | None, finding: str) -> None:
    folder = tmp_path / "vendor"
    shutil.copytree(FOLDER, folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert findings_of(folder) == [finding]


def test_the_check_prints_the_version_and_needs_no_network() -> None:
    script = FOLDER.parents[3] / "scripts" / "vendor_charts.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env={"PATH": ""}, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("uplot ")
