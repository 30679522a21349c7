"""Replacing the key that signs the log. The log itself says so, and the sequencer carries it out: DATA_DIR gets the
next key, the event names both, and the checkpoint right after it is signed by both."""

from typing import Final, NamedTuple

from audit.checkpoint import InstallationKeys, Verifier, installation_signer
from audit.key_chain import ROTATED, keys_of
from audit.models import EventRow
from gateway.actions import act
from governance.facts import Fact

PERMISSION: Final = "governance.replace_signingkey"


class HandingOver(NamedTuple):
    old: Verifier
    new: Verifier


def replace(*, by: str) -> HandingOver:
    """Asked again while one is under way, it is the same one. Raises BadKey, OSError."""
    old = installation_signer()
    new = InstallationKeys().make_heir(old.name)
    keys = HandingOver(old.verifier, new.verifier)
    if not _is_announced(keys):
        details = {"old": str(keys.old), "new": str(keys.new)}
        act(lambda record, now: record(Fact("signing_key.rotated", "signing_key", details)), by=by)
    return keys


def _is_announced(keys: HandingOver) -> bool:
    """A command that was killed between file and event is finished by the next one."""
    events = EventRow.objects.filter(kind=ROTATED, call_id=None).order_by("-id")
    last = events.first()
    return last is not None and keys_of(bytes(last.header)) == keys
