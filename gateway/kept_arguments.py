"""What is sealed of the arguments of a call: of one that is about to be sent, and of one that was refused."""

from typing import Final, NamedTuple

from gateway import refusals
from gateway.call import Call, Frame
from gateway.deciding import recorded_of, without
from gateway.refusals import Refusal
from governance import canonical
from governance.inspection.masking import VaultIndex

MOST_REFUSED_BYTES: Final = 64 * 1024
"""A call that is carried out may bring more: one that is refused costs its sender nothing, and fills disks."""
MASKED: Final = frozenset(("secret", "card", "personal", "data_class", "external"))
"""Kinds of finding that are masked in what was refused: no rule has said that they may go anywhere. Orders, hosts and
links stay, for they tell the story."""
UNKEPT: Final = {
    "metadata_only": "The bundle records metadata only.",
    "too_large": f"Of a refused call no more than {MOST_REFUSED_BYTES:,} bytes are.",
    "not_inspected": "A part of them could not be looked at, and may hold a secret.",
    "credential": "A credential is in them.",
}
"""Why the arguments of a refused call are not kept."""


class Kept(NamedTuple):
    """`said` names what the agent's side said beside its arguments; `why_not` is a key of UNKEPT."""

    body: bytes = b""
    said: tuple[str, ...] = ()
    why_not: str = ""


def kept_of(recorded: bytes, frame: Frame) -> Kept:
    """The arguments and, where the agent's side said anything of its reasons, that as well. It is told in words of
    somebody's, so it must be erasable: the header names only that it is there."""
    told = (("reason", frame.stated_reason), ("context", frame.stated_context))
    said = {name: text for name, text in told if text}
    if not said:
        return Kept(recorded)
    return Kept(b'{"asked":' + recorded + b',"said":' + canonical.encode(said) + b"}", tuple(said))


def kept_of_refused(refusal: Refusal, vault: VaultIndex) -> Kept | None:
    """None where nothing was looked at: what is out of reach, what cannot be read."""
    call, decision = refusal.call, refusal.decision
    if call is None or decision is None:
        return None
    if not decision.records_payload:
        return Kept(why_not="metadata_only")
    if len(call.recorded_arguments) > MOST_REFUSED_BYTES:
        return Kept(why_not="too_large")
    if call.findings.unseen():
        return Kept(why_not="not_inspected")
    kept = kept_of(_without_data(call), call.frame)
    return Kept(why_not="credential") if _holds_credential(kept.body, refusal, call, vault) else kept


def _without_data(call: Call) -> bytes:
    found = [finding for finding in call.findings if finding.kind in MASKED]
    if not found:
        return call.recorded_arguments
    frame = without(call, found)
    return recorded_of(frame.arguments, frame.resumed)


def _holds_credential(body: bytes, refusal: Refusal, call: Call, vault: VaultIndex) -> bool:
    """Those of a connected account are known to whoever refused for them only."""
    is_known = refusal.reason is refusals.CREDENTIAL_IN_ARGUMENTS or call.frame.token.encode() in body
    return is_known or vault.find(body) or vault.find_apart(body)
