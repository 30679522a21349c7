"""The stage between an upstream's answer and its record: what may reach the agent, and in which form."""

from datetime import datetime
from functools import partial
from typing import Any

from connectors.base import RawResult, UpstreamFailure
from gateway.call import Call, Intent, SafeResult
from gateway.containing import LINK, SCREENED, skim_of, with_new_links
from gateway.detecting import RESULT, look
from gateway.excepting import excepting
from gateway.inspecting import blind, masked_by, met, proof_of
from gateway.ports import Ports
from gateway.relaying import result_problem
from gateway.run_labels import labels_found
from gateway.seams import with_seams
from gateway.targets import expose_uris
from gateway.unmasking import masked_by_tokens
from gateway.values import changed
from governance import canonical
from governance.answers import Screen
from governance.inspection.field_masks import Place, mask_fields
from governance.inspection.findings import Findings
from governance.inspection.masking import VaultIndex
from governance.inspection.output_schemas import still_valid
from governance.inspection.redaction import Found, redact
from governance.inspection.seams import may_hide_in_lists, runs_of, whole_stretches, without_known

WITHHELD_TEXT = "The result repeated a secret of this gateway throughout and was withheld."
WITHHELD_RESULT = {"content": [{"type": "text", "text": WITHHELD_TEXT}], "isError": True}
FORM_TEXT = (
    "The result repeated a secret of this gateway where the tool's output schema leaves no room for a mask, and was "
    "withheld. The call was carried out: do not repeat it."
)
WITHHELD_FORM = {"content": [{"type": "text", "text": FORM_TEXT}], "isError": True}
"""A schema that was promised has to be kept, and a client may take what does not for anything."""
WITHHELD_ERROR = {"code": -32603, "message": WITHHELD_TEXT}
FINISHED = ("ok", "tool_error")
TOOL_CALL = "tools/call"
APPROVAL_META = "com.gatehouse/approval"


def screen_result(intent: Intent, raw: RawResult, vault: VaultIndex) -> SafeResult | UpstreamFailure:
    """What comes back: values of our vault never reach an agent, whichever field they hide in. An upstream that asks
    what it may not ask has failed."""
    if problem := result_problem(raw, intent.call.frame.relay, intent.connector, vault):
        return UpstreamFailure("bad_answer", f"It asked for something in vain. {problem}", reached=True)
    original: Any = raw.result if raw.result is not None else raw.error
    content, encoded = original, canonical.encode(original)
    content, names = _without_cut(intent, content, encoded, vault)
    if content is not original:
        encoded = canonical.encode(content)
    if vault.find(encoded):
        content, hits = vault.mask(content)
        names |= {hit.secret for hit in hits}
    masked = tuple(sorted(names))
    is_tool = intent.call.frame.method == TOOL_CALL
    if not isinstance(content, dict):
        content = WITHHELD_RESULT if raw.result is not None and is_tool else WITHHELD_ERROR
    elif masked and is_tool and _breaks_promise(intent, original, content):
        content = WITHHELD_FORM
    is_error = raw.result is None or content is WITHHELD_ERROR
    content, places = _without_fields(intent, content)
    outcome = "error" if is_error else _outcome_of(content, is_tool=is_tool)
    if outcome in FINISHED:
        content = _with_narrowing(intent, _exposed(intent, content))
    if content is not original:
        encoded = canonical.encode(content)
    result, error = (None, content) if is_error else (content, None)
    return SafeResult(outcome, result, error, masked, raw, encoded, places)


def is_looked_at(intent: Intent) -> bool:
    return bool(intent.decision.screens or intent.call.caller.snapshot.canaries)


async def screen_content(intent: Intent, safe: SafeResult, ports: Ports) -> SafeResult:
    """What rules want of the answer's content. What could not be looked at in full is withheld where a rule denies or
    masks it."""
    content: Any = safe.result if safe.result is not None else safe.error
    names = frozenset(name for screen in intent.decision.screens for name in screen.findings)
    size, beside = len(safe.encoded), ports.inspector.beside
    skim = skim_of(content, names, intent.call.caller.snapshot)
    found, asked = await look(intent.call, content, names, size, ports, on=RESULT, skim=skim)
    found = await with_seams(intent, partial(runs_of, content), names, found, ports, size=size)
    if LINK in names:
        found = await with_new_links(intent, content, size, found, ports, skim=skim)
    found, proof = await beside(partial(_proven, found, content, intent.call, ports.now()), size=size)
    wanted = met(intent.decision.screens, found)
    safe = changed(
        safe,
        found=proof,
        detectors=asked,
        screened_by=tuple(screen.rule for screen in wanted),
        labels=labels_found(found),
        skim=skim,
    )
    denial = next((screen for screen in wanted if screen.effect == "deny"), None)
    masks = [screen for screen in wanted if screen.effect == "mask"]
    asks = tuple(screen.ask for screen in wanted if screen.ask is not None)
    if denial is None and (unable := blind(masks, found)) is not None:
        denial = unable._replace(reason="It is too large or too deep to be looked at, and a rule masks it.")
    if denial is not None:
        return withheld_by(intent, safe, denial)
    if asks:
        safe = changed(safe, asks=asks, shown=await beside(partial(_shown_to_humans, content, found), size=size))
    if not masks:
        return safe
    tokens: tuple[str, ...] = ()
    if any(screen.reversible for screen in masks):
        content, tokens = await masked_by_tokens(
            intent, content, masked_by(masks, found), masks, ports.masks, inspector=ports.inspector, size=size
        )
    else:
        content = await beside(partial(redact, content, masked_by(masks, found)), size=size)
    encoded = await beside(partial(canonical.encode, content), size=size)
    result, error = (content, None) if safe.result is not None else (None, content)
    return changed(safe, result=result, error=error, encoded=encoded, tokens=tokens)


def _shown_to_humans(content: Any, found: Findings) -> bytes:
    if found.unseen():
        return b""
    return canonical.encode(redact(content, [each for each in found if each.kind != "limit"]))


def _proven(found: Findings, content: Any, call: Call, now: datetime) -> tuple[Findings, tuple[Found, ...]]:
    """What counts, and all of it for the record."""
    found = excepting(found, content, call, now=now)
    return found, proof_of(content, found)


def withheld_by(intent: Intent, safe: SafeResult, denial: Screen) -> SafeResult:
    """The call has run: the agent must not be invited to repeat it."""
    why = denial.reason or "A rule forbids its content."
    text = f"The answer was withheld. {why} The call was carried out: do not repeat it."
    meta = {"com.gatehouse/decision": {"code": "screened", "rule": denial.rule}}
    if intent.call.frame.method == TOOL_CALL:
        result: Any = {"content": [{"type": "text", "text": text}], "isError": True, "_meta": meta}
        return changed(safe, outcome=SCREENED, result=result, error=None, encoded=canonical.encode(result))
    error = {"code": -32603, "message": text, "data": meta}
    return changed(safe, outcome=SCREENED, result=None, error=error, encoded=canonical.encode(error))


def _without_cut(intent: Intent, content: Any, encoded: bytes, vault: VaultIndex) -> tuple[Any, frozenset[str]]:
    """Without values that stand in pieces: over parts of the result, or begun in what was said before."""
    is_listed = isinstance(content, dict) and "structuredContent" in content and may_hide_in_lists(encoded, vault)
    joined = whole_stretches(runs_of(content, lists=is_listed), intent.said.tails)
    return without_known(content, joined, vault)


def _breaks_promise(intent: Intent, original: dict[str, Any], masked: dict[str, Any]) -> bool:
    """A schema is promised where no rule may mask results: `gateway/mcp/listing.py` says so."""
    schema = intent.call.tool.definition.get("outputSchema")
    if schema is None or "structuredContent" not in original:
        return False
    if still_valid(schema, original["structuredContent"], masked.get("structuredContent")):
        return False
    caller = intent.call.caller
    ways = (
        caller.snapshot.holding(caller.agent, bundle, intent.call.tool, caller.credential.person_id)
        for bundle in intent.call.candidates
    )
    return not any(way is not None and way.masks_results for way in ways)


def _without_fields(intent: Intent, content: dict[str, Any]) -> tuple[dict[str, Any], tuple[Place, ...]]:
    """Without what rules mask by path."""
    if not intent.decision.masks:
        return content, ()
    masked, places = mask_fields(content, intent.decision.masks)
    return (masked if places else content), tuple(places)


def _outcome_of(result: dict[str, Any], *, is_tool: bool) -> str:
    if result.get("resultType") == "input_required":
        return "input_required"
    return "tool_error" if is_tool and result.get("isError") is True else "ok"


def _with_narrowing(intent: Intent, result: dict[str, Any]) -> dict[str, Any]:
    """Tells the agent which of its arguments were not what ran."""
    approval = intent.screened.permitted.approval
    if approval is None or not approval.narrowed:
        return result
    meta = result.get("_meta")
    told = {"id": approval.name, "narrowed": list(approval.narrowed)}
    return {**result, "_meta": {**(meta if isinstance(meta, dict) else {}), APPROVAL_META: told}}


def _exposed(intent: Intent, result: dict[str, Any]) -> dict[str, Any]:
    bundle, is_union = intent.call.candidates[0], intent.call.frame.bundle is None
    return expose_uris(result, bundle, intent.connector, union=is_union)
