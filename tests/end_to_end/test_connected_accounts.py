"""People's accounts at a system nobody here wrote, before real gateways on both databases: from its bare address to a
call on her behalf, its token renewed by one of all processes, and gone from the provider when she leaves."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import httpx
import pytest

from tests import cast
from tests.end_to_end.conftest import MakeInstallation
from tests.end_to_end.installation import Installation
from tests.end_to_end.protected_files import CONSENT, Family, Files, protected_files
from tests.end_to_end.test_crash import eventually
from tests.end_to_end.wire import Caller, Reply

pytestmark = [pytest.mark.timeout(600), pytest.mark.databases("postgres")]

PREPARE = """
import json
from gateway.actions import act
from gateway.one_time_links import one_time_login_url
from governance.agent_keys import issue_key
from governance.models import Agent, User

def key(agent):
    issued = lambda record, now: issue_key(agent, by="test", record=record, now=now, expires_at=None)
    return act(issued, by="test").key

User.objects.create_superuser("root@example.com")
links = {user.email: one_time_login_url(user) for user in User.objects.all()}
print(json.dumps({"links": links, "keys": {agent.owner.email: key(agent) for agent in Agent.objects.all()}}))
"""
WORKER = """
from gateway.tasks import finish_offboardings, revoke_accounts
revoke_accounts()
finish_offboardings()
"""
AGE_LEASES = """
from datetime import UTC, datetime
from governance.models import UpstreamGrant
UpstreamGrant.objects.exclude(renewing_until=None).update(renewing_until=datetime.now(UTC))
"""
AT_ONCE = 12
CALLED_FROM = "SELECT process_id, COUNT(*) FROM audit_event WHERE kind = 'call.outcome' GROUP BY process_id"


class Browser:
    """A person's, signed in by a one-time link."""

    def __init__(self, origin: str, email: str, link: str) -> None:
        self.origin, self.email = origin, email
        self.http = httpx.Client(follow_redirects=False, timeout=60)
        self.press(urlsplit(link).path)

    def read(self, path: str) -> str:
        page = self.http.get(f"{self.origin}{path}")
        assert page.status_code == 200, (path, page.status_code)
        return page.text

    def press(self, path: str, *, shown: str = "", **said: Any) -> httpx.Response:
        """A button of the page `shown`, which is the one it sends to unless named."""
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.read(shown or path))
        assert found
        form = {"csrfmiddlewaretoken": found[1], **said}
        headers = {"Referer": f"{self.origin}{shown or path}"}
        return self.http.post(f"{self.origin}{path}", data=form, headers=headers)

    def connect(self, account: str, files: Files) -> str:
        """Through the provider's consent page and back; what her page says of her accounts then."""
        off = self.press(f"{account}connect/", shown=account)
        found = re.search(r'class="button"\s+href="([^"]+)"', off.text)
        assert found, off.text
        consent = self.http.get(found[1].replace("&amp;", "&")).headers["location"]
        assert CONSENT in consent
        assert "Gatehouse wants your files" in self.http.get(consent).text
        back = self.http.post(consent, data={"person": self.email}).headers["location"]
        home = self.http.get(back).headers["location"]
        return self.read(urlsplit(urljoin(back, home)).path)


@dataclass
class Desk:
    """Two gateways before the files system. People's tokens there are always about to end, until a test says that they
    live."""

    house: Installation
    files: Files
    browsers: dict[str, Browser]
    keys: dict[str, str]
    account: str
    pool: ThreadPoolExecutor

    def call(self, person: str) -> Reply:
        with closing(Caller(self.house.url, self.keys[person], path="/mcp/files", timeout_seconds=90)) as caller:
            return caller.call("whose")

    def begin(self, person: str, count: int = 1) -> "list[Future[Reply]]":
        return [self.pool.submit(self.call, person) for _ in range(count)]

    def connect(self, person: str) -> None:
        assert "is connected" in self.browsers[person].connect(self.account, self.files)

    def column(self, name: str, person: str) -> Any:
        """Of her account that has not ended."""
        query = (
            f"SELECT account.{name} FROM governance_upstreamgrant account"
            " JOIN governance_user person ON person.id = account.person_id"
            " WHERE account.status <> 'ended' AND person.email = %s"
        )
        [(found,)] = self.house.sql(query, person)
        return found

    def renewing(self, person: str) -> int:
        """The number of the gateway that has the lease."""
        [(pid,)] = self.house.sql(
            "SELECT pid FROM gateway_gatewayprocess WHERE id = %s", self.column("renewing_by", person)
        )
        return [process.pid for process in self.house.processes].index(pid)

    def families(self, person: str) -> list[Family]:
        return [family for family in self.files.families if family.person == person]


def result_of(reply: Reply) -> dict[str, Any]:
    """A call that waited was answered by a stream."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return reply.result
    heard = [json.loads(line[6:]) for line in reply.body.splitlines() if line.startswith(b"data: {")]
    found: dict[str, Any] = heard[-1]["result"]
    return found


def text_of(reply: Reply) -> str:
    return str(result_of(reply)["content"][0]["text"])


def code_of(reply: Reply) -> str:
    return str(result_of(reply)["_meta"]["com.gatehouse/decision"]["code"])


def manifest(url: str) -> dict[str, Any]:
    made = cast.organisation({"files": url}, timeout_seconds=30)
    made["connectors"][0] |= {"account": "person", "owner": cast.NOOR}
    return made


@pytest.fixture(scope="module")
def desk(make_installation: MakeInstallation) -> Iterator[Desk]:
    """Set up by the pages alone; tools are looked up with the account of the connector's resource owner."""
    with ExitStack() as stack:
        files, house = stack.enter_context(protected_files()), make_installation()
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        house.apply(manifest(files.url))
        house.start_gateway(processes=2, pages=True)
        [(connector,)] = house.sql("SELECT id FROM governance_connector")
        place = f"/admin/connectors/{UUID(str(connector))}/accounts/"
        made = json.loads(house.manage("shell", "-c", PREPARE).stdout.splitlines()[-1])
        root = Browser(house.url, "root@example.com", made["links"]["root@example.com"])
        assert root.press(place).status_code == 302
        assert files.origin in root.read(place)
        people = (cast.NOOR, cast.ANA, cast.LEE, cast.OMAR)
        browsers = {email: Browser(house.url, email, made["links"][email]) for email in people}
        desk = Desk(house, files, browsers, made["keys"], f"/me/accounts/{UUID(str(connector))}/", pool)
        desk.connect(cast.NOOR)
        house.apply(manifest(files.url))
        for person in people[1:]:
            desk.connect(person)
        yield desk
        house.kill9()
        stored = house.everything_stored()
        told = {token for family in files.families for token in family.tokens}
        assert not [token for token in told if token.encode() in stored]


@pytest.fixture(autouse=True)
def _two_gateways(desk: Desk) -> Iterator[None]:
    """Whatever a test did to them."""
    yield
    desk.files.holds = False
    if missing := 2 - len(desk.house.processes):
        desk.house.start_gateway(processes=missing)


def test_from_a_bare_address_to_a_call_on_her_behalf_and_to_its_end(desk: Desk) -> None:
    assert text_of(desk.call(cast.ANA)) == f"files of {cast.ANA}"
    [family] = desk.families(cast.ANA)
    assert len(family.spent - {""}) == 1, "renewed before the call, for it was about to end"
    assert text_of(desk.call(cast.ANA)) == f"files of {cast.ANA}"
    outcome = desk.house.events("call.outcome")[-1]
    assert (outcome["outcome"], outcome["person"]) == ("ok", cast.ANA)
    desk.house.manage("offboard", cast.ANA, "--successor", cast.LEE)
    served = desk.files.served.count(cast.ANA)
    desk.call(cast.ANA)
    assert desk.files.served.count(cast.ANA) == served, "nobody acts as somebody who left"
    desk.house.manage("shell", "-c", WORKER)
    assert family.is_over
    [revoked] = desk.house.events("account.revoked")
    assert revoked["details"]["steps"][0] == {"token": "refresh_token", "result": "revoked"}
    assert desk.house.answer("verify_audit")["sound"]


def test_many_calls_in_two_gateways_renew_a_token_once(desk: Desk) -> None:
    before = len(desk.files.renewals)
    earlier = desk.house.sql(CALLED_FROM)
    desk.files.holds = True
    calls = desk.begin(cast.LEE, AT_ONCE)
    eventually(lambda: len(desk.files.renewals) == before + 1)
    other = desk.house.processes[1 - desk.renewing(cast.LEE)]
    assert other.poll() is None
    time.sleep(1)
    assert not any(call.done() for call in calls)
    desk.files.holds = False
    assert {text_of(call.result(60)) for call in calls} == {f"files of {cast.LEE}"}
    assert len(desk.files.renewals) == before + 1, "the others took what the one had got"
    assert not any(family.is_over for family in desk.families(cast.LEE))
    both = [row for row in desk.house.sql(CALLED_FROM) if row not in earlier]
    assert len(both) >= 2, "calls came to both gateways"


def test_what_a_provider_gave_to_a_process_that_died_ends_in_a_clear_word_and_no_loop(desk: Desk) -> None:
    before = len(desk.files.renewals)
    desk.files.holds = True
    lost = desk.begin(cast.OMAR)[0]
    eventually(lambda: len(desk.files.renewals) == before + 1)
    desk.house.kill9(desk.renewing(cast.OMAR))
    with pytest.raises(httpx.TransportError):
        lost.result(30)
    desk.files.holds = False
    waited = desk.call(cast.OMAR)
    assert code_of(waited) == "account_unavailable", "while nobody knows, it is not asked again, and nobody waits long"
    assert len(desk.files.renewals) == before + 1
    desk.house.manage("shell", "-c", AGE_LEASES)
    told = [desk.call(cast.OMAR) for _ in range(3)]
    assert {code_of(each) for each in told} == {"account_reconnect"}
    assert all(desk.account in text_of(each) for each in told)
    assert len(desk.files.renewals) == before + 1, "a refresh token that was spent is shown once, and never again"
    assert "broke off before its answer was kept" in desk.browsers[cast.OMAR].read(desk.account)
    desk.connect(cast.OMAR)
    assert text_of(desk.call(cast.OMAR)) == f"files of {cast.OMAR}"
