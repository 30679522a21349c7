"""Where a channel may lead. Its bot token goes along, so its address is no free choice: otherwise whoever may set up
channels could have any token of the vault sent to a listener of hers."""

from typing import Final
from urllib.parse import urlsplit

SLACK_HOSTS: Final = ("slack.com", "slack-gov.com")


def is_plain_address(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc


def is_slack(url: str) -> bool:
    """Slack itself; or plain http, which leads only into networks that the installation allows by name."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_theirs = any(host == known or host.endswith(f".{known}") for known in SLACK_HOSTS)
    return is_plain_address(url) and (parts.scheme == "http" or is_theirs)
