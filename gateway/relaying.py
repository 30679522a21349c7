"""What an upstream says to and asks of the caller's side while it works on a request. All of it is hostile: a
question is a way into somebody else's model or mind, an answer a way for secrets to get out.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from connectors.base import NotAnswered, RawResult, Relay
from gateway.accounts.presented import guarding
from gateway.call import Intent
from gateway.commit.entry import EvidenceUnavailable, RecordRefused, Verdict
from gateway.containing import LINK, note_said, with_new_links
from gateway.deciding import authorize, looked_for, looked_into
from gateway.detecting import RESULT, look
from gateway.evidence import asked_entry, told_entry
from gateway.excepting import excepting
from gateway.inspecting import masked_by, met, proof_of
from gateway.ports import Ports
from gateway.refusals import Refusal
from gateway.run_labels import labels_found, met_by
from gateway.seams import with_seams
from gateway.unmasking import watching
from gateway.values import changed
from governance import canonical
from governance.inspection.findings import Findings
from governance.inspection.masking import VaultIndex
from governance.inspection.seams import Run, run_said, whole_stretches, without_known
from governance.snapshot import Connector, Snapshot

QUESTIONS = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}
"""Method -> the client capability it needs."""
NOTIFICATIONS = ("notifications/progress", "notifications/message")
MOST_NOTIFICATIONS = 1_000
MOST_QUESTIONS = 20
"""Of one call; so many of one answer that is `input_required`, too."""
LARGEST = 64 * 1024
"""Bytes of one notification, question, answer or request state."""
MOST_TOLD = 50
"""Of what was found in all that was said before the result."""
FORBIDDEN = "A rule forbids what the answer contains."
URL_ELICITATION_REQUIRED = -32042
ASKED = "questions"
GOES_ON = "The question goes on with a secret of the gateway that was begun before."
WEB = ("https://", "http://")


class ScreenedRelay:
    """Stands between a connector and the relay of the request's own endpoint.

    `may_still_hear` tells whether the caller would still be permitted this call in a newer snapshot.
    """

    def __init__(
        self, relay: Relay, intent: Intent, ports: Ports, *, may_still_hear: Callable[[Snapshot], bool]
    ) -> None:
        self._relay = relay
        self._intent = intent
        self._ports = ports
        self._may_still_hear = may_still_hear
        self._permitted_epoch = intent.call.caller.snapshot.epoch
        self._notified = 0
        self._asked = 0
        self._has_met = False
        self.powers = powers_of(relay, intent.connector)

    @property
    def wants_progress(self) -> bool:
        return self._relay.wants_progress

    @property
    def log_level(self) -> str:
        return self._relay.log_level

    @property
    def can_resume(self) -> bool:
        return self._relay.can_resume

    @property
    def takes_tasks(self) -> bool:
        return self._relay.takes_tasks

    @property
    def polls_tasks(self) -> bool:
        return self._relay.polls_tasks

    async def became_task(self) -> None:
        await self._relay.became_task()

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        """Drops what is too much, too large or no longer for this caller; masks the rest. What goes on with something
        that was heard before is looked at together with it."""
        self._notified += 1
        if method not in NOTIFICATIONS or self._notified > MOST_NOTIFICATIONS or not self._is_permitted():
            return
        body, vault = canonical.encode(params), self._vault()
        if len(body) > LARGEST:
            return
        said = self._intent.said
        shown, _ = without_known(params, whole_stretches(run_said(params), said.tails), vault)
        shown = vault.mask(shown)[0] if vault.find(canonical.encode(shown)) else shown
        if not isinstance(shown, dict):
            return
        with suppress(EvidenceUnavailable):
            if await self._is_fit(shown, len(body), run_said(shown)):
                await self._meet(shown, len(body))
                for run in run_said(shown):
                    said.add(method, run.parts)
                await self._relay.notify(method, shown)

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The question is durable before it travels to the caller's side, its answer before it travels upstream.

        Raises NotAnswered.
        """
        self._asked += len(requests)
        if self._asked > MOST_QUESTIONS:
            raise NotAnswered("Too many questions in one call.")
        if problem := question_problem(requests, self.powers, self._vault()):
            raise NotAnswered(problem)
        runs = [run for request in requests.values() for run in run_said(request.get("params", {}))]
        await self._refuse_unfit(requests, runs)
        await self._commit_question(requests)
        for run in runs:
            self._intent.said.add(ASKED, run.parts)
        try:
            answers = await self._relay.ask(requests)
        except NotAnswered as refusal:
            await self._commit_answer({}, refusal.message)
            raise
        answers = {key: answer for key, answer in answers.items() if key in requests}
        problem = answer_problem(answers, self._intent.call.frame.token, self._vault())
        problem = problem or await self._forbidden(answers)
        await self._commit_answer({} if problem else answers, problem)
        if problem:
            raise NotAnswered(problem)
        return answers

    async def _refuse_unfit(self, requests: Mapping[str, dict[str, Any]], runs: list[Run]) -> None:
        """Raises NotAnswered."""
        if without_known({}, whole_stretches(runs, self._intent.said.tails), self._vault())[1]:
            raise NotAnswered(GOES_ON)
        try:
            is_fit = await self._is_fit(requests, len(canonical.encode(requests)), runs)
        except EvidenceUnavailable:
            raise NotAnswered("The question cannot be recorded now.") from None
        if not is_fit:
            raise NotAnswered("A rule forbids what the question contains.")

    async def _is_fit(self, said: Mapping[str, Any], size: int, runs: list[Run]) -> bool:
        """What a rule denies or masks in the result is not said before it either. Whatever is found counts as if it
        stood there: the run is labelled, what is to follow has followed, and the outcome tells of it.

        Raises EvidenceUnavailable.
        """
        call, noticed = self._intent.call, self._intent.noticed
        screens = [screen for screen in self._intent.decision.screens if screen.findings]
        if not screens and not call.caller.snapshot.canaries:
            return True
        found = await self._found(said, size, runs, frozenset(name for screen in screens for name in screen.findings))
        if not found:
            return True
        proof = [replace(each, path=f"/said{each.path}") for each in proof_of(said, found)]
        noticed.extend(proof[: MOST_TOLD - len(noticed)])
        if labels := labels_found(found):
            await self._ports.run_labels.add(call.caller.agent.id, call.frame.session_id, labels)
        await self._ports.reactions.to_said(call, proof, self._ports.snapshot())
        return not met([screen for screen in screens if screen.effect != "flag"], found)

    async def _found(self, said: Mapping[str, Any], size: int, runs: list[Run], names: frozenset[str]) -> Findings:
        call = self._intent.call
        found, asked = await look(call, said, names, size, self._ports, on=RESULT)
        self._intent.consulted.extend(asked[: MOST_TOLD - len(self._intent.consulted)])
        found = await with_seams(self._intent, lambda: runs, names, found, self._ports, size=size)
        if LINK in names:
            found = await with_new_links(self._intent, said, size, found, self._ports)
        return excepting(found, said, call, now=self._ports.now())

    async def _forbidden(self, answers: Mapping[str, Any]) -> str:
        """What rules say of arguments they say of answers: why these may not travel upstream. Humans cannot be asked
        any more: the call is under way."""
        call, permission = self._intent.call, self._intent.screened.permitted
        names = looked_for(call)
        if not names and not call.caller.snapshot.canaries:
            return ""
        frame = changed(call.frame, resumed={**call.frame.resumed, "inputResponses": answers})
        try:
            looked = changed(await looked_into(changed(call, frame=frame), names, self._ports), frame=call.frame)
            if not looked.findings:
                return ""
            await self._ports.reactions.to_said(looked, looked.found, self._ports.snapshot(), is_sent=True)
            consented = permission.approval.rules if permission.approval is not None else frozenset[str]()
            decision = authorize(looked, self._ports, labels=permission.labels, consented=consented).decision
        except EvidenceUnavailable:
            return "The answer cannot be looked at now."
        except Refusal:
            return FORBIDDEN
        return FORBIDDEN if masked_by(decision.redacts, looked.findings) else ""

    async def _meet(self, said: Mapping[str, Any], size: int) -> None:
        """What is said before the result is met like the result: the run has its labels before the agent hears of it.

        Raises EvidenceUnavailable.
        """
        call = self._intent.call
        if not self._has_met and (run := met_by(call)) is not None:
            await self._ports.run_labels.add(run.agent_id, call.frame.session_id, run.labels)
        self._has_met = True
        await note_said(self._intent, said, size, self._ports)

    async def _commit_question(self, requests: Mapping[str, dict[str, Any]]) -> None:
        """A question discloses, so it passes the fence. Raises NotAnswered."""
        try:
            await self._meet(requests, len(canonical.encode(requests)))
            committed = await self._ports.commit(await asked_entry(self._intent, requests, self._ports))
            if committed.verdict is Verdict.STALE:
                if not self._may_still_hear(await self._ports.snapshot_at_least(committed.epoch)):
                    raise NotAnswered("Permission for this call was withdrawn.")
                await self._ports.commit(await asked_entry(self._intent, requests, self._ports, is_fenced=False))
        except (EvidenceUnavailable, RecordRefused):
            raise NotAnswered("The question cannot be recorded now.") from None

    async def _commit_answer(self, answers: Mapping[str, dict[str, Any]], problem: str) -> None:
        try:
            await self._ports.commit(await told_entry(self._intent, answers, self._ports, problem=problem))
        except (EvidenceUnavailable, RecordRefused):
            raise NotAnswered("The answer cannot be recorded now.") from None

    def _is_permitted(self) -> bool:
        """Looks again only when something was changed since the last look."""
        snapshot = self._ports.snapshot()
        if snapshot.epoch != self._permitted_epoch:
            if not self._may_still_hear(snapshot):
                return False
            self._permitted_epoch = snapshot.epoch
        return True

    def _vault(self) -> VaultIndex:
        known = guarding(self._ports.vault_index(self._ports.snapshot()), self._intent.account)
        return watching(known, self._intent)


def powers_of(relay: Relay, connector: Connector) -> Mapping[str, Any]:
    """What the caller's side can do and this upstream may ask for."""
    return {name: power for name, power in relay.powers.items() if name in connector.relays}


def question_problem(requests: Any, powers: Mapping[str, Any], vault: VaultIndex) -> str:
    """Why these questions (key -> {method, params}) may not be asked, for the upstream to hear; empty if they may."""
    if not isinstance(requests, Mapping) or len(requests) > MOST_QUESTIONS:
        return "Too many questions."
    for request in requests.values():
        if not _is_offered(request, powers):
            return "The caller's side does not offer this."
        body = canonical.encode(request)
        if len(body) > LARGEST:
            return "The question is too long."
        if vault.find(body):
            return "The question contains a secret of the gateway."
    return ""


def answer_problem(answers: Mapping[str, Any], token: str, vault: VaultIndex) -> str:
    """Why these answers may not travel upstream; empty if they may."""
    body = canonical.encode(answers)
    if len(body) > LARGEST * MOST_QUESTIONS:
        return "The answer is too long."
    if token.encode() in body or vault.find(body):
        return "The answer contains a credential and was not passed on."
    return ""


def result_problem(raw: RawResult, relay: Relay, connector: Connector, vault: VaultIndex) -> str:
    """Why what asks for something instead of being a result may not be handed on; empty for everything else."""
    if raw.error is not None:
        return question_problem(_elicitations(raw.error), powers_of(relay, connector), vault)
    result = raw.result or {}
    if result.get("resultType") != "input_required":
        return ""
    state, requests = result.get("requestState"), result.get("inputRequests", {})
    if not relay.can_resume or (state is None and not requests):
        return "Nothing can be asked now."
    if state is not None and (not isinstance(state, str) or len(state) > LARGEST or vault.find(state.encode())):
        return "Its request state cannot be kept."
    return question_problem(requests, powers_of(relay, connector), vault)


def _elicitations(error: Mapping[str, Any]) -> Any:
    """The questions of a 2025-11-25 error that asks to open web pages first."""
    if error.get("code") != URL_ELICITATION_REQUIRED:
        return {}
    detail = error.get("data")
    pages = detail.get("elicitations") if isinstance(detail, Mapping) else None
    if not isinstance(pages, list):
        return None
    return {str(i): {"method": "elicitation/create", "params": page} for i, page in enumerate(pages)}


def _is_offered(request: Any, powers: Mapping[str, Any]) -> bool:
    method = request.get("method") if isinstance(request, Mapping) else None
    power = powers.get(QUESTIONS.get(method, "")) if isinstance(method, str) else None
    params = request.get("params", {}) if power is not None else None
    if not isinstance(power, Mapping) or not isinstance(params, Mapping):
        return False
    if params.get("mode") == "url":
        return "url" in power and str(params.get("url", "")).startswith(WEB)
    if method == "elicitation/create":
        return "form" in power or "url" not in power
    return "tools" not in params or "tools" in power
