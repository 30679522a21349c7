"""An identity provider that brings its people over HTTP, as Okta and Entra do: look, create what is missing, and put
each into a group. What was answered is remembered, so that nothing of it may be lost."""

from dataclasses import dataclass, field
from typing import Any

import httpx

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


@dataclass
class Provider:
    origin: str
    token: str = field(repr=False)
    answered: dict[str, str] = field(default_factory=dict)
    """User name -> id, of every creation that was answered."""

    def __post_init__(self) -> None:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/scim+json"}
        self._client = httpx.Client(base_url=f"{self.origin}/scim/v2", headers=headers, timeout=60)

    def cycle(self, names: list[str], group: str) -> None:
        """Safe to repeat. Raises httpx.HTTPError when the other end goes away."""
        people = self._found("Groups", f'displayName eq "{group}"', excludedAttributes="members")
        group_id = people or self._made("/Groups", {"displayName": group})
        for name in names:
            user = self._found("Users", f'userName eq "{name}"')
            if user is None:
                user = self._made("/Users", self._user(name))
            self.answered[name] = user
            member = {"op": "add", "path": "members", "value": [{"value": user}]}
            self.send("PATCH", f"/Groups/{group_id}", {"schemas": [PATCH], "Operations": [member]})

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        answer = self._client.request(method, path, json=body)
        answer.raise_for_status()
        return answer

    def everybody(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while True:
            page = self.send("GET", f"/Users?startIndex={len(found) + 1}&count=100").json()
            found |= {each["userName"]: each["id"] for each in page["Resources"]}
            if len(found) >= page["totalResults"]:
                return found

    def members(self, group: str) -> set[str]:
        found = self._client.get("/Groups", params={"filter": f'displayName eq "{group}"'}).json()["Resources"]
        return {member["value"] for member in found[0].get("members", ())}

    def _found(self, kind: str, asked: str, **more: str) -> str | None:
        answer = self._client.get(f"/{kind}", params={"filter": asked, **more})
        answer.raise_for_status()
        found = answer.json()["Resources"]
        return str(found[0]["id"]) if found else None

    def _made(self, path: str, body: dict[str, Any]) -> str:
        kind = "Group" if path == "/Groups" else "User"
        schemas = [f"urn:ietf:params:scim:schemas:core:2.0:{kind}"]
        return str(self.send("POST", path, {"schemas": schemas, **body}).json()["id"])

    def _user(self, name: str) -> dict[str, Any]:
        mails = [{"value": name, "type": "work", "primary": True}]
        return {"userName": name, "externalId": name, "displayName": name, "emails": mails, "active": True}
