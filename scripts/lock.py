"""Writes the lock files: every package pinned and hashed, for every platform we run on."""

import subprocess
import sys

LOCKS = {
    "requirements.txt": "requirements.lock",
    "requirements-onnx.txt": "requirements-onnx.lock",
    "requirements-dev.txt": "requirements-dev.lock",
    "tests/canaille.txt": "tests/canaille.lock",
}
APART = {"requirements.txt", "tests/canaille.txt"}
"""What depends on no other list: canaille has an environment of its own."""
UV = [
    sys.executable,
    "-m",
    "uv",
    "pip",
    "compile",
    "--universal",
    "--generate-hashes",
    "--python-version",
    "3.11",
]
QUIET = [
    "--quiet",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-annotate",
    "--custom-compile-command",
    "make lock",
]


def main() -> None:
    for source, lock in LOCKS.items():
        together = [] if source in APART else ["--constraint", LOCKS["requirements.txt"]]
        subprocess.run([*UV, *QUIET, *together, *sys.argv[1:], source, "--output-file", lock], check=True)


if __name__ == "__main__":
    main()
