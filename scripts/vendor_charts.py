"""Fetches the dashboard's chart library from its npm package, or proves that what is committed is that package.

    python scripts/vendor_charts.py                  checks the committed files against vendor.json, without a network
    python scripts/vendor_charts.py --fetch          packs the same version by `npm pack`, checks its sha256, unpacks
    python scripts/vendor_charts.py --fetch 1.6.32   moves to another version and writes its fingerprints down

Files are taken as published, byte for byte. Exit 1 when a fingerprint does not fit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "router" / "server" / "static" / "vendor"
RECORD = FOLDER / "vendor.json"
PACKAGE = "uplot"
# Name in the package -> name here.
TAKEN = {
    "package/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "package/dist/uPlot.min.css": "uPlot.min.css",
    "package/LICENSE": "uPlot.LICENSE.txt",
}


def sha256_of(content: bytes) -> str:
    """The fingerprint as hexadecimal text."""
    return hashlib.sha256(content).hexdigest()


def findings_of(folder: Path) -> list[str]:
    """What is not as ``vendor.json`` says, a sentence each; empty when all is as published."""
    record: dict[str, Any] = json.loads((folder / RECORD.name).read_text(encoding="utf-8"))
    expected: dict[str, str] = record["files"]
    present = {path.name for path in folder.iterdir()} - {RECORD.name}
    found = [f"{name}: is not in vendor.json" for name in sorted(present - set(expected))]
    for name, fingerprint in expected.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{name}: is missing; run with --fetch")
        elif sha256_of(path.read_bytes()) != fingerprint:
            found.append(f"{name}: is not the file that was published; run with --fetch")
    return found


def fetch(version: str, expected: str | None) -> None:
    """Pack, check and unpack one version; raises SystemExit where the package is not the expected one."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{PACKAGE}@{version}", "--silent", "--pack-destination", folder]
        try:
            subprocess.run(command, check=True, cwd=folder)
        except FileNotFoundError:
            raise SystemExit("npm is not installed: it comes with Node.js") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"npm could not pack {PACKAGE}@{version}: exit {error.returncode}") from error
        tarball = next(Path(folder).glob("*.tgz")).read_bytes()
        if expected is not None and sha256_of(tarball) != expected:
            raise SystemExit(f"{PACKAGE}@{version}: the package has changed: sha256 {sha256_of(tarball)}")
        FOLDER.mkdir(parents=True, exist_ok=True)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            for source, name in TAKEN.items():
                member = archive.extractfile(source)
                if member is None:
                    raise SystemExit(f"{PACKAGE}@{version}: {source} is not a file of the package")
                (FOLDER / name).write_bytes(member.read())
    record = {
        "package": PACKAGE,
        "version": version,
        "license": "MIT",
        "sha256": sha256_of(tarball),
        "files": {name: sha256_of((FOLDER / name).read_bytes()) for name in TAKEN.values()},
    }
    RECORD.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def main() -> int:
    """Check, or fetch and check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", nargs="?", const="", metavar="VERSION", help="pack it anew by npm")
    wanted = parser.parse_args().fetch
    if wanted is not None:
        known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
        version = wanted or known.get("version")
        if not version:
            parser.error("--fetch: name a version the first time")
        fetch(version, known.get("sha256") if version == known.get("version") else None)
    found = findings_of(FOLDER)
    for finding in found:
        print(finding)
    if not found:
        record = json.loads(RECORD.read_text(encoding="utf-8"))
        print(f"{record['package']} {record['version']}: {len(record['files'])} files as published")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
