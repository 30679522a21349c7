"""Ending an account of an identity provider here: what its groups gave, and the sessions that rest on it."""

from datetime import datetime

from gateway.sessions import end_sessions_resting_on
from governance.facts import Recorder
from governance.models import StaffIdentity
from governance.staff_identities import end_identity


def end(row: StaffIdentity, *, by: str, record: Recorder, now: datetime) -> bool:
    """In the caller's transaction. False if it was ended before."""
    if not end_identity(row, by=by, record=record, now=now):
        return False
    end_sessions_resting_on(row)
    return True
