"""The bridge itself: takes the client's lines and brings it what the gateway says.

Each request has a thread, because each may take its time and be given up alone; what needs no answer goes in order.
"""

from __future__ import annotations

import json
import queue
import threading

from gatehouse_bridge.carrying import Carrier
from gatehouse_bridge.gateway import Gateway
from gatehouse_bridge.http import Broken, NotSent
from gatehouse_bridge.jobs import Job, Jobs
from gatehouse_bridge.lines import LINE_LIMIT, Output, TooLong
from gatehouse_bridge.messages import INVALID_REQUEST, Message, Unreadable, error_line, id_of, read_message
from gatehouse_bridge.saying import say

GRACE_SECONDS = 1.0
"""For what is under way when the client has gone; clients wait two for us to end."""
FAREWELL_SECONDS = 0.5


class Bridge:
    def __init__(self, gateway: Gateway, output: Output) -> None:
        self._output = output
        self._jobs = Jobs()
        self._carrier = Carrier(gateway, output)
        self._outbox: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._courier = threading.Thread(target=self._bring_in_order, daemon=True)
        self._courier.start()

    def take(self, line: bytes | TooLong) -> None:
        if isinstance(line, TooLong):
            self._refuse(None, INVALID_REQUEST, f"This line is over the limit of {LINE_LIMIT} bytes.")
            return
        try:
            message = read_message(line)
        except Unreadable as reason:
            self._refuse(None, reason.code, str(reason))
            return
        if message.method == "notifications/cancelled" and self._is_cancelled(message):
            return
        if message.is_request:
            self._begin(message)
        else:
            self._outbox.put(message)

    def finish(self) -> None:
        """The client has gone. What never ends by itself is cut at once, the rest after a moment."""
        self._outbox.put(None)
        self._jobs.cut("subscriptions/listen")
        self._courier.join(GRACE_SECONDS)
        self._jobs.wait(GRACE_SECONDS)
        self._jobs.cut()
        self._carrier.finish(seconds=FAREWELL_SECONDS)

    def _begin(self, message: Message) -> None:
        job = Job(message)
        if not self._jobs.begin(job):
            for identifier in message.expected:
                text = "This id is under way already, or too many requests are."
                self._output.write(error_line(_plain(identifier), INVALID_REQUEST, text))
            return
        if message.method == "initialize":
            self._carrier.session.begin(message)
        threading.Thread(target=self._carry, args=(job,), daemon=True).start()

    def _carry(self, job: Job) -> None:
        try:
            self._carrier.carry(job)
        except NotSent as reason:
            self._fail(job, f"Nothing was sent to the gateway: {reason}.")
        except Broken as reason:
            unknown = " Whether it was done is not known: look before you repeat it."
            is_call = job.message.method in ("tools/call", "")
            self._fail(job, f"The connection to the gateway was lost: {reason}.{unknown if is_call else ''}")
        except ValueError:
            self._fail(job, "A name or argument of this request cannot be written as a header.", code=-32602)
        finally:
            if job.message.method == "initialize":
                self._carrier.session.settled.set()
            self._jobs.end(job)

    def _fail(self, job: Job, text: str, code: int = -32603) -> None:
        if not job.is_given_up:
            for identifier in job.left():
                self._refuse(_plain(identifier), code, text)

    def _is_cancelled(self, notification: Message) -> bool:
        """True where that is all there is to do: of 2026-07-28 on, the end of a request's connection cancels it."""
        job = self._jobs.find(id_of({"id": notification.params.get("requestId")}))
        if job is None:
            return not self._carrier.session.id
        if job.message.revision:
            job.cut()
            return True
        job.give_up()
        return False

    def _bring_in_order(self) -> None:
        while (message := self._outbox.get()) is not None:
            try:
                self._carrier.bring(message)
            except (NotSent, Broken, ValueError) as reason:
                say(f"{message.method or 'an answer'} was not delivered: {reason}")

    def _refuse(self, identifier: object, code: int, text: str) -> None:
        self._output.write(error_line(identifier, code, text))


def _plain(identifier: str) -> object:
    return json.loads(identifier)
