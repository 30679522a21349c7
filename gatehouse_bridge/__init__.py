"""Carries a stdio MCP client to a Gatehouse endpoint: one JSON-RPC message a line here, Streamable HTTP there.

Made of the standard library alone, for Python 3.9 or newer, because it runs on people's own machines: `zipapp` packs
it into the one file they download. It decides nothing and keeps nothing; messages pass through as they were sent.
"""

VERSION = "1"
CLIENT_ID = "gatehouse-bridge"
"""As which OAuth client people sign in with it, unless their IT says otherwise."""
