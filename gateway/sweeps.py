"""What is forgotten once nobody needs it."""

from datetime import UTC, datetime

from gateway import jwks
from gateway.notices.delivery import forget_old
from gateway.oauth import client_documents
from gateway.oauth.spent import forget_spent
from gateway.reactions import let_holds_end
from governance import oauth_tokens
from governance.approval_endings import empty_old
from governance.directories import forget_messages


def forget_what_is_old() -> None:
    """Arguments of requests that ended, holds of runs, notices, what was kept of others' statements and keys,
    what directories sent, codes and tokens. Safe to run anywhere, at any time."""
    now = datetime.now(UTC)
    while empty_old(now=now):
        continue
    let_holds_end(now)
    forget_old(now)
    forget_spent(now)
    jwks.forget_unused(now)
    client_documents.forget_unused(now)
    forget_messages(now)
    oauth_tokens.forget_old(now)
