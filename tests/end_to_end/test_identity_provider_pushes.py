"""A real identity provider (canaille) pushes what it does with its people over SCIM; all of it follows here at once."""

from tests.canaille import Canaille
from tests.end_to_end.directory_cycle import Provider
from tests.end_to_end.installation import Installation


def state_of(installation: Installation, address: str) -> tuple[bool, bool] | None:
    """Whether she is active here, and whether the directory's row of her still lives."""
    rows = installation.sql(
        "SELECT u.is_active, d.deleted_at IS NULL FROM governance_user u "
        "JOIN governance_directoryuser d ON d.person_id = u.id WHERE u.email = %s ORDER BY d.id DESC LIMIT 1",
        address,
    )
    return (bool(rows[0][0]), bool(rows[0][1])) if rows else None


def test_who_is_saved_locked_and_deleted_there_is_made_ended_and_gone_here(
    installation: Installation, pushing_provider: Canaille
) -> None:
    idp = pushing_provider
    origin = installation.start_gateway(pages=True)
    token = installation.answer("scim_token", "--name", "canaille", "--json")["token"]
    Provider(origin, token).everybody()
    idp.put_client(home=f"{origin}/scim/v2")
    idp.issue_token(token)

    idp.put_user("mia", email="mia@corp.test", name="Mia Ode")
    assert state_of(installation, "mia@corp.test") == (True, True)
    idp.put_user("mia", email="mia@corp.test", name="Mia Oda")
    assert installation.sql("SELECT name FROM governance_user WHERE email = 'mia@corp.test'") == [("Mia Oda",)]

    installation.apply({"agents": [{"name": "mias-bot", "owner": "mia@corp.test", "purpose": "Reports"}]})
    installation.issue_key("mias-bot")
    idp.lock_user("mia")
    assert state_of(installation, "mia@corp.test") == (False, True)
    assert installation.sql("SELECT status FROM governance_agent WHERE name = 'mias-bot'") == [("suspended",)]
    assert installation.events("person.offboarded")

    idp.unlock_user("mia")
    assert state_of(installation, "mia@corp.test") == (True, True)
    assert installation.sql("SELECT status FROM governance_agent WHERE name = 'mias-bot'") == [("suspended",)]

    idp.put_user("bob", email="bob@corp.test", name="Bob Roe")
    idp.delete_user("bob")
    assert state_of(installation, "bob@corp.test") == (False, False)
    problems = installation.sql("SELECT method, path, problem FROM governance_directorymessage WHERE status >= 400")
    assert problems == []
