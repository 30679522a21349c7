"""Services that outside detectors ask, in-process over real HTTP: strict about what they are sent, broken at will."""

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

WORDS = re.compile(r"\b(Ana Lima|Bo Öst)\b")
"""All that these services find."""


class Refused(Exception):
    """What was sent is not what the service documents."""


@dataclass(frozen=True, slots=True)
class Received:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class FakeService:
    """`answers` makes the answer of a request; `fault` is what happens instead."""

    answers: Callable[[Received], Any]
    fault: str = ""
    """slow, cut, garbage, huge, deep, wrong_places, or a status."""
    received: list[Received] = field(default_factory=list)
    url: str = ""

    def texts(self) -> str:
        return "\n".join(each.body.decode() for each in self.received)

    async def answer(self, request: Received) -> tuple[int, bytes]:
        self.received.append(request)
        if self.fault == "slow":
            await asyncio.Event().wait()
        if self.fault.isdecimal():
            return int(self.fault), b'{"error":"Ana Lima"}'
        if made := FAULTS.get(self.fault):
            return 200, made
        try:
            return 200, orjson.dumps(self.answers(request))
        except Refused as problem:
            return 400, orjson.dumps({"error": str(problem)})


FAULTS = {
    "garbage": b"<html>Ana Lima</html>",
    "huge": b"[" + b" " * 2_000_000 + b"]",
    "deep": b"[" * 500 + b"]" * 500,
    "wrong_places": orjson.dumps([{"entity_type": "PERSON", "start": 0, "end": 10**9, "score": 1.0}]),
    "wrong_types": orjson.dumps([{"entity_type": ["PERSON"], "start": "0", "end": None, "score": True}]),
    "wrong_shape": b'"nothing"',
}


def presidio(request: Received) -> Any:
    said = orjson.loads(request.body)
    expect((request.method, request.path) == ("POST", "/analyze"))
    expect(said.keys() <= {"text", "language", "entities"} and said["language"] == "en" and bool(said["text"]))
    return [
        {"entity_type": "PERSON", "start": hit.start(), "end": hit.end(), "score": 0.85, "analysis_explanation": None}
        for hit in WORDS.finditer(said["text"])
    ]


def nightfall(request: Received) -> Any:
    said = orjson.loads(request.body)
    expect((request.method, request.path) == ("POST", "/v3/scan"))
    expect(request.headers["authorization"] == "Bearer nf-key")
    expect(len(said["policyUUIDs"]) == 1 and len(said["payload"]) == 1)
    (text,) = said["payload"]
    return {"findings": [[_nightfall_finding(text, hit) for hit in WORDS.finditer(text)]], "redactedPayload": [""]}


def _nightfall_finding(text: str, hit: re.Match[str]) -> Any:
    points = {"start": hit.start(), "end": hit.end()}
    return {
        "finding": hit.group(),
        "detector": {"name": "Person name", "uuid": "d08edfc4-b5e2-420a-a5fe-3693fb6276c4"},
        "confidence": "VERY_LIKELY",
        "location": {"byteRange": in_bytes(text, hit), "codepointRange": points},
        "matchedDetectionRuleUUIDs": [],
        "matchedDetectionRules": [],
    }


def in_bytes(text: str, hit: re.Match[str]) -> dict[str, int]:
    start = len(text[: hit.start()].encode())
    return {"start": start, "end": start + len(hit.group().encode())}


def expect(holds: object) -> None:
    if not holds:
        raise Refused("not as documented")


@asynccontextmanager
async def serving(answers: Callable[[Received], Any]) -> AsyncIterator[FakeService]:
    service = FakeService(answers)

    talking: set[asyncio.Task[Any]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        try:
            await _talk(service, reader, writer)
        finally:
            talking.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield service
    finally:
        server.close()
        for task in tuple(talking):
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)


async def _talk(service: FakeService, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while True:
            status, body = await service.answer(await _read(reader))
            if service.fault == "cut":
                return
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
            await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Received(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


def google(request: Received) -> Any:
    """Its token endpoint and `content:inspect`; numbers are text, a start of 0 is left out."""
    if request.path == "/token":
        said = dict(parse_qsl(request.body.decode()))
        expect(said["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer")
        head, claims, _ = (orjson.loads(_decoded(part)) if i < 2 else part for i, part in enumerate(_parts(said)))
        expect(head["alg"] == "RS256" and claims["iss"] == "dlp@acme.iam.gserviceaccount.com" and claims["exp"])
        return {"access_token": "ya29.token", "expires_in": 3599, "token_type": "Bearer"}
    said = orjson.loads(request.body)
    expect(request.path == "/v2/projects/acme-dlp/locations/europe-west3/content:inspect")
    expect(request.headers["authorization"] == "Bearer ya29.token")
    expect(said["inspectConfig"]["infoTypes"] == [{"name": "PERSON_NAME"}])
    text = said["item"]["value"]
    return {"result": {"findings": [_google_finding(text, hit) for hit in WORDS.finditer(text)]}} if text else {}


def _google_finding(text: str, hit: re.Match[str]) -> Any:
    """Every other one tells bytes only."""
    found = {name: str(place) for name, place in in_bytes(text, hit).items() if place}
    points = {name: str(place) for name, place in (("start", hit.start()), ("end", hit.end())) if place}
    both = {"byteRange": found, "codepointRange": points} if hit.group() == "Ana Lima" else {"byteRange": found}
    return {"infoType": {"name": "PERSON_NAME"}, "likelihood": "LIKELY", "location": both, "createTime": "x"}


def _parts(said: Mapping[str, str]) -> list[str]:
    return said["assertion"].split(".")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def bedrock(request: Received) -> Any:
    """Tells matches by their text, and of a topic only that it is there."""
    said = orjson.loads(request.body)
    expect(request.path == "/guardrail/gr123/version/2/apply")
    signed = request.headers["authorization"]
    expect(signed.startswith("AWS4-HMAC-SHA256 Credential=AKIAX/") and "/eu-central-1/bedrock/aws4_request" in signed)
    expect(said["source"] in ("INPUT", "OUTPUT") and said.keys() == {"source", "content"})
    (block,) = said["content"]
    text = block["text"]["text"]
    pii = [{"match": word, "type": "NAME", "action": "ANONYMIZED"} for word in sorted(set(WORDS.findall(text)))]
    attack = {"type": "PROMPT_ATTACK", "confidence": "HIGH", "filterStrength": "HIGH", "action": "BLOCKED"}
    assessment = {
        "sensitiveInformationPolicy": {"piiEntities": pii, "regexes": []},
        "contentPolicy": {"filters": [attack] if "ignore all" in text else []},
    }
    did = pii or assessment["contentPolicy"]["filters"]
    return {
        "usage": {},
        "action": "GUARDRAIL_INTERVENED" if did else "NONE",
        "outputs": [],
        "assessments": [assessment] if did else [],
    }
