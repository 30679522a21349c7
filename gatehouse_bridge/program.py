"""Connects a client that speaks only stdio with a Gatehouse endpoint."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from gatehouse_bridge import CLIENT_ID, VERSION
from gatehouse_bridge.address import BadSetting, address_of
from gatehouse_bridge.bridge import Bridge
from gatehouse_bridge.gateway import Gateway
from gatehouse_bridge.keys import FILE_VARIABLE, VARIABLE, Key, key_of
from gatehouse_bridge.lines import Output, read_lines
from gatehouse_bridge.saying import say
from gatehouse_bridge.sign_in import SignedIn
from gatehouse_bridge.token_file import TokenFile, folder_of

EPILOG = f"""The key is read from the file that --key-file or {FILE_VARIABLE} names, or from {VARIABLE}; never from the
command line, where every program on this machine could see it."""


class Stopped(Exception):
    """Somebody told the program to end."""


def main(arguments: Sequence[str] | None = None) -> int:
    told = _parser().parse_args(arguments)
    return run(told.url, key_file=told.key_file, sign_in=told.sign_in, opens_browser=not told.no_browser)


def run(url: str, *, key_file: str, sign_in: str = "", opens_browser: bool = False) -> int:
    """Between stdin and stdout: 0 when the client has gone, 2 for settings that cannot be."""
    try:
        address = address_of(url)
        if sign_in:
            file = TokenFile(folder_of(os.environ), url=url, client_id=sign_in)
            key: Key | None = SignedIn(address, url=url, client_id=sign_in, file=file, opens_browser=opens_browser)
        else:
            key = key_of(os.environ, key_file)
        if key is None:
            raise BadSetting(f"There is no key: set {VARIABLE}, name a file by --key-file, or --sign-in.")
    except BadSetting as reason:
        say(str(reason))
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    bridge = Bridge(Gateway(address, key), Output(sys.stdout.fileno()))
    try:
        for line in read_lines(sys.stdin.buffer):
            bridge.take(line)
    except Stopped:
        pass
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    bridge.finish()
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gatehouse-bridge", description=__doc__, epilog=EPILOG)
    parser.add_argument("url", help="the endpoint, as in https://gatehouse.example.com/mcp/support")
    parser.add_argument("--key-file", default="", metavar="PATH", help="a file that holds the key and nothing else")
    parser.add_argument(
        "--sign-in",
        nargs="?",
        default="",
        const=CLIENT_ID,
        metavar="CLIENT_ID",
        help="no key: you sign in by your browser; CLIENT_ID only if your IT names another OAuth client for the bridge",
    )
    parser.add_argument("--no-browser", action="store_true", help="only write where to sign in, do not open it")
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    return parser
