"""The vault: what opens where, what never shows, and how values and keys change while serving."""

import base64
import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from governance.facts import Fact
from governance.models import Secret, SecretVersion
from governance.vault import (
    Keyring,
    SealBroken,
    UnknownKey,
    UnusableSecret,
    VaultError,
    auth_headers,
    context_of,
    envelope_of,
    maskable_forms,
    open_envelope,
    open_secret_version,
    put_secret_value,
    rewrap,
    rewrap_all,
    seal,
)

OLD = bytes(range(32))
NEW = bytes(range(32, 64))
VALUE = "s3cret-of-the-helpdesk"
PLACE = "secret_version:1:value"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def kek(settings: Any) -> Keyring:
    settings.KEK, settings.KEK_PREVIOUS = OLD, ()
    return Keyring(OLD)


def make_secret(name: str = "helpdesk-token", **fields: Any) -> Secret:
    return Secret.objects.create(name=name, **fields)


def put(secret: Secret, value: str = VALUE, *, facts: list[Fact] | None = None) -> SecretVersion:
    record = [] if facts is None else facts
    with transaction.atomic():
        return put_secret_value(secret, value=value, by="ana@example.com", record=record.append, now=NOW)


@given(st.binary(max_size=200), st.text(max_size=30))
def test_what_was_sealed_opens_in_its_place(plaintext: bytes, place: str) -> None:
    envelope = seal(plaintext, context=place, keyring=Keyring(OLD))
    assert open_envelope(envelope, context=place, keyring=Keyring(NEW, [OLD])) == plaintext


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_sealed_value_opens_nowhere_else(place: str, other: str) -> None:
    envelope = seal(b"value", context=place, keyring=Keyring(OLD))
    if place != other:
        with pytest.raises(SealBroken):
            open_envelope(envelope, context=other, keyring=Keyring(OLD))


@given(st.sampled_from(["wrapped_key", "ciphertext"]), st.data())
def test_a_flipped_bit_is_noticed(part: str, data: st.DataObject) -> None:
    envelope = seal(b"value", context=PLACE, keyring=Keyring(OLD))
    blob = bytearray(getattr(envelope, part))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealBroken):
        open_envelope(replace(envelope, **{part: bytes(blob)}), context=PLACE, keyring=Keyring(OLD))


@given(st.sampled_from(["wrapped_key", "ciphertext"]), st.binary(max_size=80))
def test_foreign_bytes_are_refused(part: str, blob: bytes) -> None:
    envelope = seal(b"value", context=PLACE, keyring=Keyring(OLD))
    with pytest.raises(SealBroken):
        open_envelope(replace(envelope, **{part: blob}), context=PLACE, keyring=Keyring(OLD))


def test_parts_of_two_envelopes_do_not_mix() -> None:
    one, two = (seal(b"value", context=PLACE, keyring=Keyring(OLD)) for _ in range(2))
    with pytest.raises(SealBroken):
        open_envelope(replace(one, wrapped_key=two.wrapped_key), context=PLACE, keyring=Keyring(OLD))


def test_equal_values_look_different() -> None:
    one, two = (seal(b"value", context=PLACE, keyring=Keyring(OLD)) for _ in range(2))
    assert one.wrapped_key != two.wrapped_key
    assert one.ciphertext != two.ciphertext


def test_a_key_that_is_gone_is_named_by_its_id() -> None:
    envelope = seal(b"value", context=PLACE, keyring=Keyring(OLD))
    with pytest.raises(UnknownKey, match=envelope.key_id):
        open_envelope(envelope, context=PLACE, keyring=Keyring(NEW))


def test_rewrapping_changes_the_key_and_not_the_value() -> None:
    before = seal(b"value", context=PLACE, keyring=Keyring(OLD))
    after = rewrap(before, context=PLACE, keyring=Keyring(NEW, [OLD]))
    assert after.ciphertext == before.ciphertext
    assert open_envelope(after, context=PLACE, keyring=Keyring(NEW)) == b"value"
    assert rewrap(after, context=PLACE, keyring=Keyring(NEW, [OLD])) is after


def test_rewrapping_in_another_place_fails() -> None:
    envelope = seal(b"value", context=PLACE, keyring=Keyring(OLD))
    with pytest.raises(SealBroken):
        rewrap(envelope, context="elsewhere", keyring=Keyring(NEW, [OLD]))


@pytest.mark.parametrize("key", [b"", b"k" * 16, b"k" * 33])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(VaultError, match="32 bytes") as refused:
        Keyring(OLD, [key])
    assert "kkk" not in str(refused.value)


def test_nothing_shows_keys_or_sealed_bytes() -> None:
    envelope = seal(b"value", context=PLACE, keyring=Keyring(OLD))
    assert repr(Keyring(OLD)) == "<Keyring>"
    assert repr(envelope) == f"Envelope(key_id='{envelope.key_id}')"


@pytest.mark.parametrize("carry", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_keyring_does_not_travel(carry: Any) -> None:
    with pytest.raises(TypeError, match="never leaves"):
        carry(Keyring(OLD))


@pytest.mark.django_db
def test_a_new_value_becomes_the_live_one_and_retires_the_old(kek: Keyring) -> None:
    facts: list[Fact] = []
    secret = make_secret()
    first, second = put(secret, facts=facts), put(secret, VALUE + "2", facts=facts)
    first.refresh_from_db()
    assert (first.number, first.retired_at) == (1, NOW)
    assert (second.number, second.retired_at) == (2, None)
    assert [open_secret_version(v, keyring=kek) for v in secret.versions.order_by("number")] == [
        VALUE,
        VALUE + "2",
    ]
    assert facts == [
        Fact("secret.value_set", "secret:helpdesk-token", {"version": n, "by": "ana@example.com"}) for n in (1, 2)
    ]


@pytest.mark.django_db
def test_the_database_never_holds_the_value(kek: Keyring) -> None:
    version = put(make_secret())
    row = SecretVersion.objects.filter(pk=version.pk).values().get()
    assert VALUE.encode() not in b"".join(bytes(v) for v in row.values() if isinstance(v, bytes | memoryview))
    assert VALUE not in repr(row)
    assert {"wrapped_key", "ciphertext"} <= SecretVersion.SEALED_COLUMNS


@pytest.mark.django_db
def test_a_ciphertext_moved_to_another_row_does_not_open(kek: Keyring) -> None:
    mine, other = put(make_secret()), put(make_secret("other"), "another-value")
    sealed = SecretVersion.objects.filter(pk=other.pk).values("key_id", "wrapped_key", "ciphertext").get()
    SecretVersion.objects.filter(pk=mine.pk).update(**sealed)
    mine.refresh_from_db()
    with pytest.raises(SealBroken):
        open_secret_version(mine, keyring=kek)


@pytest.mark.django_db
def test_an_unpresentable_value_changes_nothing(kek: Keyring) -> None:
    secret = make_secret()
    put(secret)
    with pytest.raises(UnusableSecret) as refused:
        put(secret, "evil\r\nx-admin: 1")
    assert "evil" not in str(refused.value)
    assert secret.versions.get().retired_at is None


@pytest.mark.django_db
def test_rewrapping_all_is_done_in_batches_once(kek: Keyring) -> None:
    facts: list[Fact] = []
    versions = [put(make_secret(f"secret-{n}"), f"{VALUE}-{n}") for n in range(5)]
    ring = Keyring(NEW, [OLD])
    assert rewrap_all(keyring=ring, record=facts.append, batch=2) == 5
    assert [fact.details["versions"] for fact in facts] == [2, 2, 1]
    for number, version in enumerate(versions):
        version.refresh_from_db()
        assert open_secret_version(version, keyring=Keyring(NEW)) == f"{VALUE}-{number}"
    assert rewrap_all(keyring=ring, record=facts.append, batch=2) == 0
    assert len(facts) == 3


@pytest.mark.django_db
def test_an_interrupted_rewrapping_is_resumed(kek: Keyring) -> None:
    for number in range(5):
        put(make_secret(f"secret-{number}"))
    ring, facts = Keyring(NEW, [OLD]), []

    def breaks_at_the_second(fact: Fact) -> None:
        facts.append(fact)
        if len(facts) == 2:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        rewrap_all(keyring=ring, record=breaks_at_the_second, batch=2)
    assert SecretVersion.objects.filter(key_id=ring.current_id).count() == 2
    assert rewrap_all(keyring=ring, record=breaks_at_the_second, batch=2) == 3


@pytest.mark.django_db
def test_a_value_whose_key_is_gone_stops_the_rewrapping(kek: Keyring) -> None:
    put(make_secret())
    with pytest.raises(UnknownKey, match=kek.current_id):
        rewrap_all(keyring=Keyring(NEW), record=[].append)


@pytest.mark.django_db
def test_two_live_versions_are_impossible(kek: Keyring) -> None:
    version = put(make_secret())
    twin = SecretVersion(secret=version.secret, number=2, created_at=NOW, key_id="", wrapped_key=b"", ciphertext=b"")
    with pytest.raises(IntegrityError):
        twin.save(force_insert=True)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "fields", [{"kind": "header"}, {"kind": "bearer", "header_name": "x-api-key"}, {"kind": "telepathy"}]
)
def test_a_header_name_and_the_kind_go_together(fields: dict[str, str]) -> None:
    with pytest.raises(IntegrityError):
        make_secret(**fields)


@pytest.mark.parametrize("name", ["x api", "x:y", "Host", "content-length", "Mcp-Session-Id", "a\r\nb", "x-key\n", "ü"])
def test_a_header_name_that_would_break_the_message_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Secret(name="s", kind="header", header_name=name).clean_fields()
    with pytest.raises(UnusableSecret):
        auth_headers("header", name, VALUE)


@pytest.mark.parametrize(
    ("kind", "name", "value", "header"),
    [
        ("bearer", "", "abc", ("authorization", "Bearer abc")),
        ("header", "X-Api-Key", "a b", ("x-api-key", "a b")),
        (
            "basic",
            "",
            "ana:pässword:x",
            ("authorization", "Basic " + base64.b64encode("ana:pässword:x".encode()).decode()),
        ),
    ],
)
def test_a_value_is_presented_as_its_kind_says(kind: str, name: str, value: str, header: tuple[str, str]) -> None:
    assert auth_headers(kind, name, value) == (header,)


@pytest.mark.parametrize("kind", ["bearer", "header"])
@pytest.mark.parametrize("value", ["", " a", "a ", "a\n", "a\r\nb", "a\x00b", "a\x7f", "a\x85b", "日本", "\ud800"])
def test_a_value_that_is_no_header_value_is_refused(kind: str, value: str) -> None:
    with pytest.raises(UnusableSecret):
        auth_headers(kind, "x-api-key", value)


@pytest.mark.parametrize("value", ["", "ana", "ana:", ":x", "ana:a\nb", "ana:\ud800"])
def test_a_pair_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(UnusableSecret):
        auth_headers("basic", "", value)


def test_an_oauth_client_is_not_presented_as_a_header() -> None:
    with pytest.raises(UnusableSecret, match="oauth_client"):
        auth_headers("oauth_client", "", "client:secret-value")


def test_the_forms_of_a_value_come_longest_first_and_once() -> None:
    forms = maskable_forms("bearer", "plain-token")
    assert forms == tuple(sorted(set(forms), key=lambda form: (-len(form), form)))
    assert b"plain-token" in forms


def test_the_place_names_table_row_and_field() -> None:
    version = SecretVersion(pk=uuid4(), key_id="k", wrapped_key=memoryview(b"w"), ciphertext=memoryview(b"c"))
    assert context_of(version) == f"secret_version:{version.pk}:value"
    assert envelope_of(version).wrapped_key == b"w"
