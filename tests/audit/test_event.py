from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.event import AuditEvent, leaf_entry, uuid7
from tests.audit.writing import NOON, event


@given(st.integers(0, 2**48 - 1))
def test_uuid7_is_well_formed_and_carries_its_time(milliseconds: int) -> None:
    made = uuid7(milliseconds)
    assert (made.version, made.variant, made.int >> 80) == (7, RFC_4122, milliseconds)


@given(st.integers(0, 2**48 - 2))
def test_uuid7_sorts_by_time(milliseconds: int) -> None:
    assert uuid7(milliseconds) < uuid7(milliseconds + 1)


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [uuid7() for _ in range(2000)]
    assert made == sorted(made)


def test_the_header_names_every_field_in_one_order() -> None:
    header = event().header()
    fields = orjson.loads(header)
    assert list(fields) == sorted(AuditEvent.__dataclass_fields__)
    assert orjson.dumps(fields) == header


@given(st.datetimes(timezones=st.just(timezone(timedelta(hours=5, minutes=30)))))
def test_the_header_keeps_the_instant(at: datetime) -> None:
    header = orjson.loads(AuditEvent(kind="call.refused", at=at, actor="").header())
    assert datetime.fromisoformat(header["at"]) == at


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        AuditEvent(kind="call.refused", at=NOON.replace(tzinfo=None), actor="")


def test_details_that_are_not_json_are_refused() -> None:
    with pytest.raises(TypeError):
        AuditEvent(kind="call.refused", at=NOON, actor="", details={"secret": b"raw"}).header()


def test_a_leaf_covers_the_epoch() -> None:
    header = event().header()
    assert leaf_entry(258, header) == bytes(6) + b"\x01\x02" + header


def test_now_is_in_utc() -> None:
    assert b'"at":"2026-11-21T12:00:00.123456Z"' in AuditEvent(kind="x", at=NOON.astimezone(UTC), actor="").header()
