"""What is forgotten once nobody needs it."""

from datetime import UTC, datetime

from gateway import jwks
from gateway.actions import act
from gateway.notices.delivery import forget_old
from gateway.oauth import client_documents
from gateway.oauth.spent import forget_spent
from gateway.reactions import let_holds_end
from governance import oauth_tokens
from governance.approval_endings import empty_answers, empty_old
from governance.directories import forget_messages
from governance.directory_pulls import forget_runs
from governance.unredeemed import AT_ONCE, end_unredeemed, unredeemed

SWEEP = "process:sweep"


def forget_what_is_old() -> None:
    """Arguments of requests that ended, holds of runs, notices, what was kept of others' statements and keys,
    what directories sent, codes and tokens. Safe to run anywhere, at any time."""
    now = datetime.now(UTC)
    while empty_old(now=now) or empty_answers():
        continue
    let_holds_end(now)
    forget_old(now)
    forget_spent(now)
    jwks.forget_unused(now)
    client_documents.forget_unused(now)
    forget_messages(now)
    let_unredeemed_end(now)
    forget_runs(now)
    oauth_tokens.forget_old(now)


def let_unredeemed_end(now: datetime) -> int:
    """A governed change, so none where there are none."""
    ended = 0
    while unredeemed(now).exists():
        found = act(lambda record, _: end_unredeemed(by=SWEEP, record=record, now=now), by=SWEEP)
        ended += found
        if found < AT_ONCE:
            break
    return ended
