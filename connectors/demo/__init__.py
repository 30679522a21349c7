"""A small helpdesk with a real MCP server: the upstream `make up` starts, so that there is something to
govern."""
