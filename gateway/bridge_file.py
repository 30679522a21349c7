"""The bridge as the one file that people download: a zip of its modules that Python runs and anybody can read, because
nothing in it is compressed; the same bytes each time."""

import functools
import hashlib
import io
import zipfile
from pathlib import Path

import gatehouse_bridge

NAME = "gatehouse-bridge.pyz"
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (1980, 1, 1, 0, 0, 0)
START = """import sys

from gatehouse_bridge.program import main

sys.exit(main())
"""


@functools.cache
def bridge_file() -> bytes:
    folder = Path(gatehouse_bridge.__file__).parent
    modules = {f"{folder.name}/{path.name}": path.read_text() for path in folder.glob("*.py")}
    packed = io.BytesIO(SHEBANG)
    packed.seek(len(SHEBANG))
    with zipfile.ZipFile(packed, "a") as archive:
        for name, text in sorted({"__main__.py": START, **modules}.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.compress_type = zipfile.ZIP_STORED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return packed.getvalue()


@functools.cache
def bridge_digest() -> str:
    """SHA-256, for whoever wants to see that what arrived is what was sent."""
    return hashlib.sha256(bridge_file()).hexdigest()
