"""What is cut over parts of a result, or over what is said before it, is found where a reader puts it together."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.base import NotAnswered, Relay, Silence
from gateway.call import Answer
from gateway.inspecting import Inspector
from gateway.pipeline import run
from governance.inspection.engine import inspect_value
from governance.inspection.redaction import redact
from governance.inspection.seams import EDGE, TAIL, runs_of, spread, stretches
from tests import factories as make
from tests.fakes import FakePorts, answer
from tests.gateway import test_pipeline_methods as methods
from tests.gateway.test_content_rules import CARD, TOKEN, details, nothing_kept, rule, says
from tests.gateway.test_pipeline import code_of, frame, text_of, world

LOG = "notifications/message"
PROGRESS = "notifications/progress"
SECRET = "s3cr3t-value-of-vault"
BASELINE = rule("mask", "secret", "payment_card", on="result")
MASKED = {TOKEN: "[SECRET:github_token]", CARD: "[CARD_NUMBER]", SECRET: "[SECRET:helpdesk-token]"}


def parts(*texts: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text} for text in texts]}


def resources(*texts: str) -> dict[str, Any]:
    return {
        "content": [
            {"type": "resource", "resource": {"uri": f"file:///{n}", "text": text}} for n, text in enumerate(texts)
        ]
    }


def listed(*texts: str) -> dict[str, Any]:
    return {"content": [], "structuredContent": {"rows": [{"lines": list(texts)}]}}


def mixed(*texts: str) -> dict[str, Any]:
    image = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
    first, *others = ({"type": "text", "text": text} for text in texts)
    return {"content": [first, image, *others]}


SHAPES = {"parts": parts, "resources": resources, "mixed": mixed}


def texts_in(value: Any) -> str:
    return orjson.dumps(value).decode()


def with_vault(*rules: Any) -> FakePorts:
    ports = FakePorts(world(*rules))
    ports.secrets = {"helpdesk-token": (SECRET.encode(),)}
    return ports


# -- parts of a result


@pytest.mark.parametrize("value", [TOKEN, CARD, SECRET], ids=["token", "card", "vault"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_what_is_cut_over_parts_is_masked_in_all_of_them(shape: str, value: str) -> None:
    ports = with_vault(BASELINE)
    cut = (f"It is {value[:5]}", value[5:12], f"{value[12:]} for now")
    ports.upstream = lambda _: answer(SHAPES[shape](*cut))
    told = await run(frame(), ports)
    mask = MASKED[value]
    assert told.result is not None
    assert texts_in(told.result) == texts_in(SHAPES[shape](f"It is {mask}", mask, f"{mask} for now"))
    assert nothing_kept(ports, value[12:])


@pytest.mark.parametrize("cut", [(9,), (9, 14)], ids=["two", "three"])
@pytest.mark.parametrize("value", [TOKEN, SECRET], ids=["token", "vault"])
async def test_what_stands_beside_hides_nothing(value: str, cut: tuple[int, ...]) -> None:
    ports = with_vault(BASELINE)
    pieces = [value[start:end] for start, end in zip((0, *cut), (*cut, len(value)), strict=True)]
    ports.upstream = lambda _: answer(parts("done", *pieces, "and more"))
    told = (await run(frame(), ports)).result
    assert told is not None
    first, *masked, last = (each["text"] for each in told["content"])
    assert (first, masked) == ("done", [MASKED[value]] * len(pieces))
    assert last.endswith(" more"), "a word that sticks to it may be part of it"


@pytest.mark.parametrize("value", [TOKEN, SECRET], ids=["token", "vault"])
async def test_neighbours_in_a_list_are_joined(value: str) -> None:
    ports = with_vault(BASELINE)
    ports.upstream = lambda _: answer(listed(value[:9], value[9:]))
    told = await run(frame(), ports)
    assert told.result == listed(MASKED[value], MASKED[value])


async def test_numbers_of_a_list_are_no_card() -> None:
    ports = FakePorts(world(BASELINE))
    ports.upstream = lambda _: answer(listed("41111111", "11111111"))
    assert (await run(frame(), ports)).result == listed("41111111", "11111111")


@pytest.mark.parametrize("value", [TOKEN, SECRET], ids=["token", "vault"])
async def test_messages_of_prompts_and_contents_of_resources_are_joined(value: str) -> None:
    def content(text: str) -> dict[str, Any]:
        return {"role": "user", "content": {"type": "text", "text": text}}

    cut = (value[:9], value[9:])
    asked = {
        "greet": (methods.frame("prompts/get", "greet"), {"messages": [content(text) for text in cut]}),
        "read": (methods.reading(), {"contents": [{"uri": methods.URI, "text": text} for text in cut]}),
    }
    for request, result in asked.values():
        ports = FakePorts(methods.world(BASELINE))
        ports.secrets = {"helpdesk-token": (SECRET.encode(),)}
        ports.upstream = lambda _, result=result: answer(result)
        told = texts_in((await run(request, ports)).result)
        assert told.count(MASKED[value]) == 2
        assert value[9:] not in told


async def test_what_is_known_by_a_label_in_the_part_before_is_found() -> None:
    ports = FakePorts(world(BASELINE))
    ports.upstream = lambda _: answer(parts("db password: ", "t7#kQ9w!vz"))
    assert "t7#kQ9w!vz" not in texts_in((await run(frame(), ports)).result)


async def test_a_denial_counts_what_crosses_and_the_record_names_each_place() -> None:
    ports = FakePorts(world(rule("deny", "secret", on="result")))
    ports.upstream = lambda _: answer(parts(f"is {TOKEN[:9]}", f"{TOKEN[9:]} now"))
    assert code_of(await run(frame(), ports)) == "screened"
    assert [each["path"] for each in details(ports, -1)["findings"]] == ["/content/0/text", "/content/1/text"]


async def test_text_that_is_json_stays_json() -> None:
    ports = with_vault(BASELINE)
    ports.upstream = lambda _: answer(parts(f'["{TOKEN[:9]}', f'{TOKEN[9:]}"]', '{"a":"b"}'))
    told = (await run(frame(), ports)).result
    assert told is not None
    assert "".join(each["text"] for each in told["content"][:2]) == '["[SECRET:github_token][SECRET:github_token]"]'
    assert orjson.loads(told["content"][2]["text"]) == {"a": "b"}


async def test_of_a_long_part_only_its_ends_are_joined() -> None:
    ports = FakePorts(world(BASELINE))
    long = f"{TOKEN[20:]} and {'so on and on, ' * EDGE}{TOKEN[:9]}"
    ports.upstream = lambda _: answer(parts(f"x {TOKEN[:20]}", long, f"{TOKEN[9:]} y"))
    told = (await run(frame(), ports)).result
    assert told is not None
    first, middle, last = (each["text"] for each in told["content"])
    mask = MASKED[TOKEN]
    assert (first, last) == (f"x {mask}", f"{mask} y")
    assert middle == f"{mask} and {'so on and on, ' * EDGE}{mask}"


async def test_one_part_costs_no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = []
    look = Inspector.look

    async def counted(self: Inspector, value: Any, *args: Any, **more: Any) -> Any:
        looks.append(value)
        return await look(self, value, *args, **more)

    monkeypatch.setattr(Inspector, "look", counted)
    ports = FakePorts(world(BASELINE))
    ports.upstream = lambda _: says("nothing")
    await run(frame(), ports)
    assert len(looks) == 1


PIECES = (TOKEN, "card 4111 1111 1111 1111,", 'password: "t7#kQ9w!vz"', "plain words of no interest ", "\n", "ünïcode")


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.data())
def test_however_a_text_is_cut_what_is_in_it_is_masked(pieces: list[str], data: st.DataObject) -> None:
    text = " ".join(pieces)
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=6)))
    cuts = [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]
    result = parts(*cuts)
    alone = inspect_value(result)
    joined = stretches(runs_of(result))
    crossing = spread(joined, inspect_value([each.text for each in joined]), alone)
    shown = redact(result, [*alone, *crossing])
    masked = {"".join(each["text"] for each in shown["content"])}
    for value in (TOKEN, "4111 1111 1111 1111", "t7#kQ9w!vz"):
        assert not any(value in each for each in masked)
        assert not any(value[-8:] in each for each in masked), "nor the end of one"


# -- what is said while the call runs


class Listener(Silence):
    """The caller's side: hears."""

    wants_progress = True
    log_level = "info"
    powers: Mapping[str, Any] = {"elicitation": {}}

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        self.heard.append(str(params["data"] if method == LOG else params["message"]))

    async def ask(self, requests: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        self.heard += [str(request["params"]["message"]) for request in requests.values()]
        return {}


async def told_in(ports: FakePorts, *said: tuple[str, Any], result: Any = None) -> tuple[list[str], Answer]:
    async def conversation(relay: Relay) -> None:
        for method, text in said:
            await relay.notify(method, {"level": "info", "data" if method == LOG else "message": text})

    listener = Listener()
    ports.conversation = conversation
    ports.upstream = lambda _: answer(result or parts("done"))
    told = await run(frame(relay=listener), ports)
    return listener.heard, told


@pytest.mark.parametrize("value", [TOKEN, CARD], ids=["token", "card"])
@pytest.mark.parametrize("kinds", [(LOG, LOG), (PROGRESS, LOG), (LOG, PROGRESS)], ids=["logs", "progress", "log"])
async def test_what_completes_something_said_before_is_not_said(kinds: tuple[str, str], value: str) -> None:
    said = zip(kinds, (f"it is {value[:9]}", f"{value[9:]} now"), strict=True)
    heard, _ = await told_in(FakePorts(world(BASELINE)), *said, (LOG, "all is well"))
    assert heard == [f"it is {value[:9]}", "all is well"]


async def test_what_stands_between_hides_nothing() -> None:
    heard, _ = await told_in(
        FakePorts(world(BASELINE)), (LOG, f"it is {TOKEN[:9]}"), (PROGRESS, "half done"), (LOG, f"{TOKEN[9:]} now")
    )
    assert heard == [f"it is {TOKEN[:9]}", "half done"]


async def test_what_was_said_before_it_hides_nothing() -> None:
    said = [(LOG, text) for text in ("done", TOKEN[:9], TOKEN[9:])]
    heard, _ = await told_in(FakePorts(world(BASELINE)), *said)
    assert heard == ["done", TOKEN[:9]]


async def test_what_was_not_heard_is_no_beginning() -> None:
    """Else the completing piece would only have to come twice."""
    heard, _ = await told_in(FakePorts(world(BASELINE)), (LOG, TOKEN[:9]), (LOG, TOKEN[9:]), (LOG, TOKEN[9:]))
    assert heard == [TOKEN[:9]]


async def test_texts_of_one_message_are_one() -> None:
    said = [(LOG, {"line": {"text": text}}) for text in (TOKEN[:9], TOKEN[9:])]
    heard, _ = await told_in(FakePorts(world(BASELINE)), *said, (LOG, [TOKEN[:9], TOKEN[9:]]))
    assert heard == [str({"line": {"text": TOKEN[:9]}})]


async def test_a_value_of_the_vault_does_not_follow_its_beginning() -> None:
    heard, told = await told_in(
        with_vault(), (LOG, f"with {SECRET[:9]}"), (PROGRESS, SECRET[9:14]), result=parts(f"{SECRET[14:]}, done")
    )
    assert heard == [f"with {SECRET[:9]}", SECRET[9:14]]
    assert text_of(told) == "[SECRET:helpdesk-token], done"
    heard, _ = await told_in(with_vault(), (LOG, f"with {SECRET[:9]}"), (PROGRESS, f"{SECRET[9:]} now"))
    assert heard == [f"with {SECRET[:9]}", "[SECRET:helpdesk-token] now"]


async def test_a_result_does_not_complete_what_was_said() -> None:
    ports = FakePorts(world(BASELINE))
    heard, told = await told_in(ports, (LOG, f"it is {TOKEN[:9]}"), result=parts(f"{TOKEN[9:]} now", "done"))
    assert heard == [f"it is {TOKEN[:9]}"]
    assert text_of(told) == "[SECRET:github_token] now"
    assert details(ports, -1)["findings"][0]["path"] == "/content/0/text"


@pytest.mark.parametrize("value", [TOKEN, SECRET], ids=["token", "vault"])
async def test_a_question_does_not_complete_what_was_said(value: str) -> None:
    asked: list[str] = []

    async def conversation(relay: Relay) -> None:
        await relay.notify(LOG, {"level": "info", "data": value[:9]})
        form = {"method": "elicitation/create", "params": {"message": f"{value[9:]}?", "requestedSchema": {}}}
        with pytest.raises(NotAnswered) as refusal:
            await relay.ask({"q": form})
        asked.append(refusal.value.message)

    ports = asking_world()
    ports.conversation = conversation
    listener = Listener()
    await run(frame(relay=listener), ports)
    assert listener.heard == [value[:9]]
    assert len(asked) == 1
    assert value[9:] not in asked[0]


def asking_world() -> FakePorts:
    agent = make.agent(roles=(make.role("bundle-support"),))
    tool = make.tool(of=make.connector(relays=frozenset({"elicitation"})))
    bundle = make.bundle(tools=(tool,), rules=(BASELINE,))
    view = make.snapshot(agents=(agent,), bundles=(bundle,), credentials=(make.credential(agent),))
    ports = FakePorts(view)
    ports.secrets = {"helpdesk-token": (SECRET.encode(),)}
    return ports


async def test_only_the_end_of_what_was_said_is_kept() -> None:
    said = [(LOG, f"line {number} of no interest. ") for number in range(TAIL // 20)]
    heard, told = await told_in(FakePorts(world(BASELINE)), *said, (LOG, TOKEN[:9]), result=parts(TOKEN[9:]))
    assert len(heard) == len(said) + 1
    assert text_of(told) == MASKED[TOKEN]
