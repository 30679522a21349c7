"""Reversible masks on the way of a call: values of a result become tokens, and tokens in arguments become values again
where a rule lets them.

A real value exists only here: in what is sent. What is decided on, shown, recorded and kept has the tokens.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final

from gateway.call import Call, Intent, Restored
from gateway.commit.entry import EvidenceUnavailable
from gateway.inspecting import Inspector, fingerprint
from gateway.mask_vault import Masks, Reader, Wanted
from gateway.run_sessions import session_of
from gateway.values import changed
from governance import canonical
from governance.answers import Screen
from governance.decision import Decision
from governance.inspection.findings import Finding
from governance.inspection.masking import JoinedIndex, VaultIndex
from governance.inspection.redaction import redact
from governance.inspection.tokens import (
    Names,
    Seen,
    Value,
    goes_back,
    masked,
    tokens_in,
    unmasked,
    values_in,
    without_tokens,
)
from governance.vault import SHORTEST_MASKABLE, maskable_forms

MOST_TOKENS: Final = 200
"""Different ones of one call that are looked for."""
SHORTEST_ECHO: Final = 4
"""Characters; shorter values stand in innocent text."""
TOLD: Final = 100


def reader_of(call: Call) -> Reader:
    return Reader(call.caller.agent.id, call.caller.person.id, session_of(call))


# -- what comes back


async def masked_by_tokens(
    intent: Intent,
    content: Any,
    found: list[Finding],
    screens: list[Screen],
    masks: Masks,
    *,
    inspector: Inspector,
    size: int,
) -> tuple[Any, tuple[str, ...]]:
    """Without what was found; and the names of the tokens that stand there, each of which is durable now. Where no
    token can be had, it is masked for good."""
    names, beside = _reversible(screens), partial(inspector.beside, size=size)
    try:
        known = await _open(intent.call, await beside(partial(_seen, content)), masks)
        found = await beside(partial(without_tokens, content, found, known))
        values = await beside(partial(values_in, content, found, names))
        wanted = [Wanted(value, _most_shown(value, screens)) for value in values]
        if not wanted:
            return await beside(partial(redact, content, found)), ()
        tokens = await masks.keep(reader_of(intent.call), wanted, retention=intent.decision.retention)
    except EvidenceUnavailable:
        return await beside(partial(redact, content, found)), ()
    shown = await beside(partial(masked, content, found, names, tokens))
    return shown, tuple(name for each in tokens.values() for name in _names(each))


def _reversible(screens: Iterable[Screen]) -> Names:
    """What nothing masks for good."""
    both = [frozenset[str](), frozenset[str]()]
    for screen in screens:
        both[screen.reversible] |= screen.findings
    return Names(frozenset(filter(goes_back, both[True])), both[False])


def _most_shown(value: Value, screens: Iterable[Screen]) -> int:
    """The least that a rule about it says."""
    return min(screen.keep_last for screen in screens if _is_named(value, screen))


def _is_named(value: Value, screen: Screen) -> bool:
    return not all(screen.findings.isdisjoint(called) for called in value.names)


def _names(token: str) -> list[str]:
    return [seen.name for seen in tokens_in(token)]


# -- what is sent


async def recognized(call: Call, masks: Masks) -> Call:
    """With the tokens of its run that its arguments have. Raises EvidenceUnavailable."""
    tokens = await _open(call, _seen(call.arguments), masks)
    return changed(call, tokens=tokens) if tokens else call


def _seen(content: Any) -> Mapping[str, str]:
    return {each.text: each.name for each in tokens_in(content)}


async def _open(call: Call, seen: Mapping[str, str], masks: Masks) -> Mapping[str, Value]:
    if not seen:
        return {}
    names = list(dict.fromkeys(seen.values()))[:MOST_TOKENS]
    found = await masks.open(reader_of(call), names)
    return {text: value for text, value in found.items() if text in seen}


def restorable(call: Call) -> tuple[dict[str, Any], ...]:
    """As rules read it: what the tokens of the call stand for."""
    if call.frame.method != "tools/call":
        return ()
    return tuple(
        {
            "kind": name,
            "rule": call.tokens[seen.text].rule,
            "severity": "high",
            "confidence": 1.0,
            "path": f"/arguments{seen.path}",
            "token": seen.name,
            "part": part,
        }
        for seen in _of_run(call)
        for part, called in enumerate(call.tokens[seen.text].names)
        for name in called
    )


def unmasked_arguments(call: Call) -> tuple[Any, ...]:
    """What the tool would be told, where tokens stand in the arguments and a rule may put values in; else nothing."""
    if not call.tokens or not _may_restore(call):
        return ()
    return (unmasked({"arguments": dict(call.arguments)}, call.tokens),)


def _may_restore(call: Call) -> bool:
    caller = call.caller
    holdings = (
        caller.snapshot.holding(caller.agent, bundle, call.tool, caller.credential.person_id)
        for bundle in call.candidates
    )
    return any(holding is not None and holding.restores for holding in holdings)


def _of_run(call: Call) -> list[Seen]:
    return [seen for seen in tokens_in(call.arguments) if seen.text in call.tokens]


def going(call: Call, decision: Decision) -> dict[str, tuple[Value, str]]:
    """By token: the values that the decision lets go along, and the rule that does."""
    found: dict[str, tuple[Value, str]] = {}
    names = Names(_named(decision.restores), _named(decision.redacts))
    for token, value in call.tokens.items():
        if all(map(names.covers, value.names)):
            rules = (each.rule for each in decision.restores if _is_named(value, each))
            found[token] = (value, next(rules))
    return found


def _named(screens: Iterable[Screen]) -> frozenset[str]:
    return frozenset(name for screen in screens for name in screen.findings)


def bound_values(call: Call, decision: Decision) -> list[dict[str, str]]:
    """What humans agree to put in: the token up to its proof, and which value that is, by keyed fingerprint."""
    return [
        {
            "token": token.partition(" ")[0].rstrip("]"),
            "name": name,
            "kind": _called(value),
            "fingerprint": fingerprint(value.text),
        }
        for token, (value, _) in sorted(going(call, decision).items())
        for name in _names(token)[:1]
    ]


def _called(value: Value) -> str:
    return ", ".join(dict.fromkeys(name for called in value.names for name in called))


def restored(call: Call, decision: Decision) -> Restored | None:
    """None where nothing goes along."""
    values = going(call, decision)
    if not values:
        return None
    put = {token: value for token, (value, _) in values.items()}
    arguments = canonical.encode(unmasked(dict(call.arguments), put))
    params = {**call.params, "arguments": arguments}
    names = {token: _names(token)[0] for token in put}
    shown = {name: token for token, name in names.items()}
    forms = [(names[token], _forms(value.text)) for token, value in put.items()]
    return Restored(params, tuple(_proof(call, values)), VaultIndex(forms, shown=shown.__getitem__))


def _forms(text: str) -> tuple[bytes, ...]:
    if len(text) >= SHORTEST_MASKABLE:
        return maskable_forms("bearer", text)
    return (text.encode(),) if len(text) >= SHORTEST_ECHO else ()


def _proof(call: Call, values: Mapping[str, tuple[Value, str]]) -> Iterable[dict[str, Any]]:
    """For the record: never the values themselves."""
    places = Counter((seen.text, f"/arguments{seen.path}") for seen in _of_run(call) if seen.text in values)
    names = {seen.text: seen.name for seen in _of_run(call)}
    for (token, path), count in places.most_common(TOLD):
        value, rule = values[token]
        yield {
            "rule": rule,
            "token": names[token],
            "kind": _called(value),
            "found_by": value.rule,
            "path": path,
            "count": count,
            "fingerprint": fingerprint(value.text),
        }


def watching(vault: VaultIndex, intent: Intent) -> VaultIndex:
    """An upstream that repeats a value we put back repeats it in vain: the agent gets the token again."""
    restored = intent.screened.restored
    return vault if restored is None else JoinedIndex(vault, restored.echoes)
