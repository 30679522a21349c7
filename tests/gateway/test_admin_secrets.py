"""Secrets in the admin: they go in, never come out, and are sent nowhere else."""

from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from audit.models import EventRow
from governance.fence.actor import governed_change
from governance.models import Connector, Secret, SecretVersion
from governance.vault import keyring, open_secret_version, put_secret_value
from tests.gateway.admin_pages import HELPDESK, connector_form, no_inlines, page, post
from tests.gateway.rows import SECRET_VALUE, a_key, an_agent
from tests.gateway.signing_in import sign_in

pytestmark = [pytest.mark.django_db, pytest.mark.plain_sql]


def secret_form(**fields: str) -> dict[str, str]:
    return {
        "name": "helpdesk-token",
        "kind": "bearer",
        "header_name": "",
        "description": "",
        **no_inlines("versions", "connectors"),
        **fields,
    }


def test_a_secret_goes_in_and_never_comes_out() -> None:
    client = sign_in("it-admin")
    answers = [
        post(client, "governance_secret_add", **secret_form(name="Not A Name", new_value=SECRET_VALUE)),
        post(client, "governance_secret_add", **secret_form(new_value=f"two\nlines{SECRET_VALUE}")),
        post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE)),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 302]
    secret, version = Secret.objects.get(), SecretVersion.objects.get()
    assert open_secret_version(version, keyring=keyring()) == SECRET_VALUE
    answers += [
        page(client, "governance_secret_change", secret.pk),
        page(client, "governance_secret_changelist"),
        page(client, "governance_secret_history", secret.pk),
        page(client, "governance_secretversion_change", version.pk),
        page(client, "governance_secretversion_changelist"),
    ]
    assert not any(SECRET_VALUE.encode() in answer.content for answer in answers)
    assert EventRow.objects.get(kind="secret.value_set").actor == "person:noor@example.com"


def test_saving_a_secret_without_a_value_keeps_the_one_it_has() -> None:
    client = sign_in("it-admin")
    post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE))
    secret = Secret.objects.get()
    fields = secret_form(description="Of the helpdesk") | {"versions-TOTAL_FORMS": "0"}
    assert post(client, "governance_secret_change", secret.pk, **fields).status_code == 302
    assert SecretVersion.objects.get().number == 1


def test_another_kind_of_secret_needs_another_value() -> None:
    client = sign_in("it-admin")
    post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE))
    fields = secret_form(kind="basic")
    assert post(client, "governance_secret_change", Secret.objects.get().pk, **fields).status_code == 200
    assert Secret.objects.get().kind == "bearer"


LISTENER = "https://mallory.example/mcp"


def a_connector_with_secret() -> Connector:
    secret = Secret.objects.create(name="helpdesk-token")
    with governed_change(by="person:ana@example.com"):
        put_secret_value(
            secret, value=SECRET_VALUE, by="person:ana@example.com", record=[].append, now=datetime.now(UTC)
        )
    return Connector.objects.create(name="helpdesk", urls=[HELPDESK], secret=secret)


@pytest.mark.parametrize("address", [LISTENER, f"{HELPDESK}\n{LISTENER}", "http://helpdesk.example.com/mcp"])
def test_an_it_admin_cannot_send_a_stored_secret_elsewhere(address: str) -> None:
    client, connector = sign_in("it-admin"), a_connector_with_secret()
    fields = connector_form(urls=address, secret=connector.secret_id)
    answers = [
        post(client, "governance_connector_change", connector.pk, **fields),
        post(client, "governance_connector_add", **fields),
    ]
    assert all(b"Only an owner may send a stored secret to another address" in answer.content for answer in answers)
    assert [row.urls for row in Connector.objects.all()] == [[HELPDESK]]


def test_a_secret_taken_off_its_connector_is_no_freer() -> None:
    client, connector = sign_in("it-admin"), a_connector_with_secret()
    post(client, "governance_connector_change", connector.pk, **connector_form(urls=HELPDESK, secret=""))
    fields = connector_form(name="other", urls=LISTENER, secret=connector.secret_id)
    assert not Secret.objects.get().connectors.exists()
    assert b"Only an owner" in post(client, "governance_connector_add", **fields).content
    assert not Secret.objects.get().connectors.exists()


def test_who_stored_a_secret_says_where_it_goes() -> None:
    client = sign_in("it-admin")
    post(client, "governance_secret_add", **secret_form(new_value=SECRET_VALUE))
    fields = connector_form(urls=HELPDESK, secret=Secret.objects.get().pk)
    assert post(client, "governance_connector_add", **fields).status_code == 302


def test_a_stored_secret_goes_on_to_where_it_went() -> None:
    client, connector = sign_in("it-admin"), a_connector_with_secret()
    fields = connector_form(urls="https://HELPDESK.example.com:443/v2", secret=connector.secret_id)
    assert post(client, "governance_connector_change", connector.pk, **fields).status_code == 302


def test_an_owner_sends_a_stored_secret_elsewhere(owner: Client) -> None:
    connector = a_connector_with_secret()
    fields = connector_form(urls="https://new.example.com/mcp", secret=connector.secret_id)
    assert post(owner, "governance_connector_change", connector.pk, **fields).status_code == 302


@pytest.mark.parametrize(
    ("screen", "lookup"),
    [
        ("user", "password__startswith=p"),
        ("user", "manager__password__startswith=p"),
        ("agent", "owner__password__startswith=p"),
        ("agentcredential", "digest__gt=0"),
        ("secret", "versions__ciphertext__gt=0"),
        ("secretversion", "wrapped_key__gt=0"),
    ],
)
def test_no_lookup_guesses_at_what_is_sealed(screen: str, lookup: str) -> None:
    client = sign_in("it-admin")
    a_key(an_agent())
    assert client.get(reverse(f"admin:governance_{screen}_changelist") + "?" + lookup).status_code == 400
