"""What nobody came for does not stay."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.sweeps import let_unredeemed_end
from governance import oauth_clients, oauth_tokens
from governance.models import Authorization, Epoch, RefreshToken
from governance.unredeemed import SLACK
from tests.gateway.letting_in import SUPPORT, Flow, World, post, refresh, stands

pytestmark = [pytest.mark.database, pytest.mark.django_db]


@pytest.fixture
def world(db: None) -> World:
    return World()


def after(lasting: timedelta) -> datetime:
    return datetime.now(UTC) + lasting + timedelta(seconds=1)


def is_live() -> bool:
    return Authorization.objects.get().revoked_at is None


def test_a_consent_whose_code_was_not_redeemed_ends_with_the_code(world: World) -> None:
    flow = Flow(world)
    code = flow.code()
    assert let_unredeemed_end(after(oauth_tokens.CODE_LIFETIME)) == 0, "whoever came at the last moment is not cut off"
    assert let_unredeemed_end(after(oauth_tokens.CODE_LIFETIME + SLACK)) == 1
    assert not is_live()
    assert flow.redeem(code).json()["error"] == "invalid_grant"


def test_one_that_is_in_use_stays_and_nothing_is_changed(world: World) -> None:
    tokens = Flow(world).tokens()
    before = Epoch.objects.get().number
    assert let_unredeemed_end(after(timedelta(days=1))) == 0
    assert refresh(world, tokens["refresh_token"]).status_code == 200
    assert let_unredeemed_end(after(timedelta(days=1))) == 0
    assert is_live()
    assert Epoch.objects.get().number == before


def test_one_that_nothing_can_renew_ends(world: World) -> None:
    tokens = Flow(world).tokens()
    assert let_unredeemed_end(after(oauth_tokens.REFRESH_LIFETIME + SLACK)) == 1
    assert not stands(tokens["access_token"])
    assert RefreshToken.objects.exists(), "by it a theft would still be noticed"


def test_a_device_has_as_long_as_it_was_told(world: World) -> None:
    codes = post("device_authorization", resource=SUPPORT, client_id=world.editor.client_id).json()
    world.browser.post("/oauth/device", {"user_code": codes["user_code"], "answer": "allow"})
    assert let_unredeemed_end(after(oauth_tokens.CODE_LIFETIME + SLACK)) == 0
    poll = {"grant_type": oauth_clients.DEVICE, "client_id": world.editor.client_id}
    assert let_unredeemed_end(after(oauth_tokens.DEVICE_LIFETIME + SLACK)) == 1
    assert post("token", device_code=codes["device_code"], **poll).json()["error"] == "expired_token"
