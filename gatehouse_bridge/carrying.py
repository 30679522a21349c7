"""One message to the gateway, and all that comes back for it."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import Any

from gatehouse_bridge.events import EventReader, EventTooLarge
from gatehouse_bridge.gateway import Gateway
from gatehouse_bridge.http import Broken, Exchange, NotSent
from gatehouse_bridge.jobs import Job
from gatehouse_bridge.lines import Output
from gatehouse_bridge.messages import INTERNAL_ERROR, Message, answers_in, parsed, read_message
from gatehouse_bridge.mirrors import Mirrors
from gatehouse_bridge.saying import say
from gatehouse_bridge.session import Session

HEADER_MISMATCH = -32020
RESUME_SECONDS = 300.0
RESUME_PAUSE = 1.0
LISTEN_PAUSES = (1.0, 2.0, 5.0, 15.0, 30.0)
PAGES_LIMIT = 50
READ_ONLY = re.compile(r"initialize|ping|server/discover|[a-z/]+/(list|get|read|complete)")
"""Methods that may be asked twice: nothing happens by them."""
_REVISION = re.compile(r"[\x21-\x7e]{1,40}")
INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class Carrier:
    """`carry` runs in a thread of its own for each request."""

    def __init__(self, gateway: Gateway, output: Output) -> None:
        self.session = Session()
        self._gateway = gateway
        self._output = output
        self._mirrors = Mirrors()
        self._life = Job()
        self._renewing = threading.Lock()

    def carry(self, job: Job) -> None:
        """Raises NotSent, Broken, or ValueError for what no header can say."""
        if job.message.method != "initialize":
            self.session.settled.wait()
        exchange = self._asked(job)
        if exchange.is_stream and exchange.status == 200:
            self._follow(job, exchange)
        else:
            self._hear_body(job, exchange)

    def bring(self, message: Message) -> None:
        """What needs no answer. Raises NotSent, Broken or ValueError."""
        job = Job(message)
        self.session.settled.wait()
        exchange = self._asked(job)
        status = exchange.status
        exchange.read()
        if status >= 400:
            say(f"the gateway answered HTTP {status} to {message.method or 'an answer'}")
        elif message.method == "notifications/initialized":
            self._listen()

    def finish(self, *, seconds: float) -> None:
        self._life.cut()
        if self.session.id:
            self._gateway.delete(self.session.headers, seconds=seconds)
        self._gateway.close()

    # -- asking

    def _asked(self, job: Job) -> Exchange:
        """Whatever the gateway answers in the end; what it says of a lost session or a missing header is mended."""
        message, has_relearned, has_renewed = job.message, False, False
        while True:
            number = self.session.number
            exchange = self._post(job)
            if exchange.status == 404 and not message.revision and self.session.id and not has_renewed:
                has_renewed = True
                exchange.close()
                self._renew(number)
            elif exchange.status == 400 and message.revision and message.method == "tools/call" and not has_relearned:
                has_relearned = True
                if not self._relearned(job, exchange):
                    return exchange
            else:
                return exchange

    def _post(self, job: Job) -> Exchange:
        """A connection that was kept may end just when it is used; who only reads may ask again."""
        headers, line = self._headers(job.message), job.message.line
        try:
            return self._gateway.post(job, headers, line)
        except Broken:
            if job.is_given_up or not READ_ONLY.fullmatch(job.message.method):
                raise
            return self._gateway.post(job, headers, line)

    def _headers(self, message: Message) -> dict[str, str]:
        """Raises ValueError."""
        if message.method == "initialize":
            return {}
        if not message.revision:
            return self.session.headers
        if not _REVISION.fullmatch(message.revision):
            raise ValueError("this revision cannot be named in a header")
        return {"MCP-Protocol-Version": message.revision, **self._mirrors.headers(message)}

    def _relearned(self, job: Job, exchange: Exchange) -> bool:
        """Whether the answer was that headers are missing, and the tools were listed for them."""
        body = exchange.read()
        error = parsed(body).get("error") if isinstance(parsed(body), dict) else None
        if not isinstance(error, dict) or error.get("code") != HEADER_MISMATCH:
            return False
        meta = {key: value for key, value in job.message.params["_meta"].items() if key != "progressToken"}
        cursor: Any = None
        for page in range(PAGES_LIMIT):
            params = {"_meta": meta} if cursor is None else {"_meta": meta, "cursor": cursor}
            request = {"jsonrpc": "2.0", "id": f"gatehouse-bridge-{page}", "method": "tools/list", "params": params}
            message = read_message(json.dumps(request).encode())
            answer = parsed(self._gateway.post(job, self._headers(message), message.line).read())
            result = answer.get("result") if isinstance(answer, dict) else None
            self._mirrors.learn(result)
            cursor = result.get("nextCursor") if isinstance(result, dict) else None
            if not isinstance(cursor, str):
                break
        return True

    # -- hearing

    def _hear_body(self, job: Job, exchange: Exchange) -> None:
        status, header = exchange.status, exchange.header("mcp-session-id")
        body = exchange.read()
        content = parsed(body)
        if answers_in(content) & job.unanswered:
            self._hear(job, body, content, header)
            return
        if job.is_given_up:
            return
        error = content.get("error") if isinstance(content, dict) else None
        if not isinstance(error, dict) or content.get("id") is not None:
            error = {"code": INTERNAL_ERROR, "message": f"The gateway answered HTTP {status} without a message."}
        for identifier in job.left():
            self._output.write(json.dumps({"jsonrpc": "2.0", "id": json.loads(identifier), "error": error}).encode())

    def _hear(self, job: Job, text: bytes, content: Any, session_id: str) -> None:
        """Passed on as it came; what is in it for us is taken before, because the client may use it at once."""
        if content is None:
            say("the gateway sent something that is no message")
            return
        answered = answers_in(content) & job.unanswered
        result = content.get("result") if isinstance(content, dict) else None
        if answered and isinstance(result, dict):
            if job.message.method == "initialize":
                self.session.open(session_id, str(result.get("protocolVersion", "")))
            elif job.message.method == "tools/list":
                self._mirrors.learn(result)
        job.unanswered -= answered
        self._output.write(text)

    def _follow(self, job: Job, exchange: Exchange) -> None:
        """A stream up to its end, and on where it broke off if the gateway keeps what it sent."""
        session_id = exchange.header("mcp-session-id")
        reader = EventReader(exchange.read_line)
        while True:
            try:
                for data in reader:
                    self._hear(job, data, parsed(data), session_id)
            except EventTooLarge:
                exchange.close()
                raise Broken("a message is too large") from None
            except Broken:
                exchange.close()
            exchange.finish()
            if job.is_given_up or not job.unanswered:
                return
            if job.message.revision or not reader.last_id or not self.session.id:
                raise Broken("the answer broke off")
            job.pause(RESUME_PAUSE if reader.retry_seconds is None else min(reader.retry_seconds, 60.0))
            exchange = self._resumed(job, reader.last_id)
            reader = reader.continued(exchange.read_line)

    def _resumed(self, job: Job, last_id: str) -> Exchange:
        """Raises Broken when the gateway does not have it any more, or is away for too long."""
        deadline = time.monotonic() + RESUME_SECONDS
        while not job.is_given_up and time.monotonic() < deadline:
            try:
                exchange = self._gateway.get(job, {**self.session.headers, "Last-Event-ID": last_id})
            except (NotSent, Broken):
                job.pause(RESUME_PAUSE)
                continue
            if exchange.status == 200 and exchange.is_stream:
                return exchange
            status = exchange.status
            exchange.close()
            if status < 500 and status != 429:
                break
            job.pause(RESUME_PAUSE)
        raise Broken("the answer broke off and could not be had again")

    # -- the session

    def _renew(self, number: int) -> None:
        """The session has ended over there; the client did not ask for one and need not know. Raises Broken."""
        with self._renewing:
            if self.session.number != number or self.session.handshake is None:
                return
            handshake, revision = self.session.handshake, self.session.revision
            exchange = self._gateway.post(self._life, {}, handshake.line)
            identifier = exchange.header("mcp-session-id")
            answer = parsed(exchange.read())
            result = answer.get("result") if isinstance(answer, dict) else None
            if not isinstance(result, dict) or str(result.get("protocolVersion", "")) != revision:
                raise Broken("the session ended and could not be opened again")
            self.session.open(identifier, revision)
            self._gateway.post(self._life, self.session.headers, INITIALIZED).read()
        self._listen()

    def _listen(self) -> None:
        if self.session.id:
            threading.Thread(target=self._hear_of_session, args=(self.session.number,), daemon=True).start()

    def _hear_of_session(self, number: int) -> None:
        """What the gateway says unasked, for as long as this session lasts."""
        last_id, failures = "", 0
        while self.session.number == number and not self._life.is_given_up:
            listening = Job()
            headers = {**self.session.headers, **({"Last-Event-ID": last_id} if last_id else {})}
            try:
                exchange = self._gateway.get(listening, headers)
                if exchange.status == 404:
                    exchange.close()
                    self._renew(number)
                    return
                if exchange.status == 405:
                    exchange.close()
                    return
                if exchange.status == 200 and exchange.is_stream:
                    failures = 0
                    reader = EventReader(exchange.read_line)
                    for data in reader:
                        self._output.write(data)
                        last_id = reader.last_id
                exchange.close()
            except (NotSent, Broken, EventTooLarge):
                pass
            self._life.pause(LISTEN_PAUSES[min(failures, len(LISTEN_PAUSES) - 1)])
            failures += 1
