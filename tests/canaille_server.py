"""canaille as one process that the tests steer: run by the Python of canaille's own environment, never imported here.

The first line on stdin is the configuration, every further one an act; each is answered by one line of JSON.
"""

import json
import sys
import threading
from datetime import UTC, datetime
from typing import Any

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import RSAKey
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    def log(self, *_: Any, **__: Any) -> None:
        """Its log is for what failed."""


def put_user(*, user_name: str, groups: list[str], **values: Any) -> dict[str, Any]:
    """Makes or changes somebody; groups that are new are made, too."""
    user = Backend.instance.get(models.User, user_name=user_name) or models.User(user_name=user_name)
    for name, value in values.items():
        setattr(user, name, value)
    Backend.instance.save(user)
    for group in Backend.instance.query(models.Group):
        _set_member(group, user, is_member=group.display_name in groups)
    for name in set(groups) - {group.display_name for group in Backend.instance.query(models.Group)}:
        Backend.instance.save(models.Group(display_name=name, members=[user]))
    return {"id": user.id}


def _set_member(group: Any, user: Any, *, is_member: bool) -> None:
    members = list(group.members)
    if (user in members) is is_member:
        return
    group.members = [*members, user] if is_member else [member for member in members if member != user]
    if group.members:
        Backend.instance.save(group)
    else:
        Backend.instance.delete(group)


def lock_user(*, user_name: str) -> dict[str, Any]:
    user = Backend.instance.get(models.User, user_name=user_name)
    user.lock_date = datetime.now(UTC).replace(microsecond=0)
    Backend.instance.save(user)
    return {}


def unlock_user(*, user_name: str) -> dict[str, Any]:
    user = Backend.instance.get(models.User, user_name=user_name)
    user.lock_date = None
    Backend.instance.save(user)
    return {}


def delete_user(*, user_name: str) -> dict[str, Any]:
    Backend.instance.delete(Backend.instance.get(models.User, user_name=user_name))
    return {}


def put_client(*, client_id: str, **values: Any) -> dict[str, Any]:
    client = Backend.instance.get(models.Client, client_id=client_id) or models.Client(client_id=client_id)
    for name, value in values.items():
        setattr(client, name, value)
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)
    return {}


def issue_token(*, client_id: str, token: str) -> dict[str, Any]:
    """The one bearer by which SCIM is pushed to this client: of several, canaille takes any."""
    client = Backend.instance.get(models.Client, client_id=client_id)
    for former in Backend.instance.query(models.Token, client=client, subject=None):
        Backend.instance.delete(former)
    now = datetime.now(UTC).replace(microsecond=0)
    row = models.Token(
        token_id=f"push-{client_id}",
        access_token=token,
        subject=None,
        audience=[client],
        client=client,
        scope=["openid"],
        issue_date=now,
        lifetime=24 * 60 * 60,
    )
    Backend.instance.save(row)
    return {}


ACTS = {act.__name__: act for act in (put_user, lock_user, unlock_user, delete_user, put_client, issue_token)}


def main() -> None:
    wanted = json.loads(sys.stdin.readline())
    key = RSAKey.generate_key(2048, auto_kid=True).as_dict(private=True)
    wanted["settings"]["CANAILLE_OIDC"] = {"ACTIVE_JWKS": [key]}
    app = create_app(config=wanted["settings"])
    # Without it canaille says nothing of whether an address was verified.
    app.config["CANAILLE_OIDC"]["USERINFO_MAPPING"]["EMAIL_VERIFIED"] = "true"
    with app.app_context():
        Backend.instance.install(app)
    server = make_server("127.0.0.1", wanted["port"], app, threaded=True, request_handler=Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    answer({"ready": True})
    for line in sys.stdin:
        act = json.loads(line)
        with app.app_context(), Backend.instance.session():
            try:
                answer(ACTS[act.pop("act")](**act))
            except Exception as error:  # noqa: BLE001 - told to the test that wanted it
                answer({"error": repr(error)})


def answer(said: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
