"""Runs the demo helpdesk: `python -m connectors.demo --data-dir DIR --token-file FILE [--port N]
[--ready-file FILE]`.

The bearer token comes from a file because process arguments are readable by everyone on the machine.
"""

import argparse
import socket
from pathlib import Path

import uvicorn

from connectors.demo.helpdesk import Helpdesk
from connectors.demo.server import DemoServer


def main() -> None:
    options = _options()
    token = options.token_file.read_text().strip()
    if not token:
        raise SystemExit(f"{options.token_file} holds no token")
    options.data_dir.mkdir(parents=True, exist_ok=True)
    helpdesk = Helpdesk(options.data_dir / "helpdesk.sqlite3")
    listener = socket.create_server(("127.0.0.1", options.port))
    if options.ready_file is not None:
        _announce(options.ready_file, port=listener.getsockname()[1])
    config = uvicorn.Config(
        DemoServer(helpdesk, token=token), access_log=False, log_level="warning", lifespan="off", ws="none"
    )
    uvicorn.Server(config).run(sockets=[listener])
    helpdesk.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m connectors.demo")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--ready-file", type=Path, help="receives the port once connections are accepted")
    return parser.parse_args()


def _announce(ready_file: Path, *, port: int) -> None:
    """Written beside and renamed, so that a reader sees the whole number or no file."""
    draft = ready_file.with_name(f"{ready_file.name}.new")
    draft.write_text(str(port))
    draft.replace(ready_file)


if __name__ == "__main__":
    main()
