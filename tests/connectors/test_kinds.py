import pytest

from connectors.base import UpstreamAuth, UpstreamFailure, UpstreamSpec
from connectors.egress import Egress
from connectors.fake import FakeConnector
from connectors.kinds import KINDS
from tests.connectors.conftest import tool_call

SPEC = UpstreamSpec("c1", "up", "fake", ())
AUTH = UpstreamAuth(headers=(("Authorization", "Bearer s3cret"),), identity="v1")


def test_only_kinds_that_exist_are_registered() -> None:
    assert set(KINDS) == {"mcp", "stdio", "fake"}


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_each_kind_is_built_from_an_egress_and_closes(kind: str) -> None:
    await KINDS[kind](Egress()).close()


async def test_the_fake_answers_by_its_scripts_and_remembers_what_it_received() -> None:
    def refuse(arguments: object) -> UpstreamFailure:
        return UpstreamFailure("reset", "gone", reached=True)

    fake = FakeConnector()
    fake.offer("break", refuse, description="breaks")
    discovery = await fake.discover(SPEC, AUTH)
    assert [tool["name"] for tool in discovery.tools] == ["echo", "break"]
    echoed = await fake.request(SPEC, AUTH, tool_call("echo", b'{"a":1}', meta={"traceparent": "t"}))
    assert echoed.result == {"content": [{"type": "text", "text": '{"a":1}'}], "isError": False}
    with pytest.raises(UpstreamFailure):
        await fake.request(SPEC, AUTH, tool_call("break"))
    fake.withdraw("break")
    unknown = await fake.request(SPEC, AUTH, tool_call("break"))
    assert unknown.error is not None
    assert [(call.tool, call.arguments) for call in fake.received] == [
        ("echo", b'{"a":1}'),
        ("break", b"{}"),
        ("break", b"{}"),
    ]
    assert "s3cret" not in repr(fake.received)
