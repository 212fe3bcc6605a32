"""Finish a built site: a service worker that keeps it for reading offline, and one file to carry it in.

python site/pack.py build
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

LEFT_OUT = ("_sources", ".buildinfo", "objects.inv")  # what a reader never opens
EARLIEST = (1980, 1, 1, 0, 0, 0)  # a zip's clock; the same files make the same zip


def main(build: Path) -> None:
    """Both, from `build/site`."""
    site = build / "site"
    for name in LEFT_OUT:
        path = site / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    (site / "sw.js").unlink(missing_ok=True)
    files = sorted(path for path in site.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    names = ["./", *(path.relative_to(site).as_posix() for path in files)]
    worker = (Path(__file__).parent / "sw.js").read_text(encoding="utf-8")
    worker = worker.replace("VERSION", digest.hexdigest()[:16]).replace("[FILES]", json.dumps(names))
    (site / "sw.js").write_text(worker, encoding="utf-8")

    with zipfile.ZipFile(build / "pgnotes-site.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in [*files, site / "sw.js"]:
            entry = zipfile.ZipInfo(f"pgnotes-site/{path.relative_to(site).as_posix()}", EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
