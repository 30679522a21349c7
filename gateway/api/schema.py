"""How the API describes itself (OpenAPI 3.1), beyond what serializers tell."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from gateway.api.fields import Strict
from gateway.api.permissions import READS
from gateway.api.problems import KINDS, MEDIA_TYPE
from governance.personal_tokens import SCOPES

ALWAYS = (400, 401, 403, 404, 406, 411, 413, 429, 500, 503)
HOW_TO_GET_ONE = "A personal token (gate_pt_...), made on the page /me/tokens/ or by the command issue_key --person."
ON_WRITES = (409, 412, 415, 422)
ELSEWHERE = """What is not here, and why:

- To make a personal token, to set who is an owner, who may enter the admin, who has which duties and which e-mail
  address, to make a one-time login for somebody with duties, and to send a stored secret to another address: a token
  that leaked must not become more than it was. Each has its page, behind a fresh sign-in.
- To break the glass, to approve a pattern or narrower arguments, and to see the arguments of what waits: on the page of
  the request, or of grants, where what is decided is shown. To decide where a rule wants a fresh sign-in, too.
- Passwords, passkeys and authenticator apps: only the person herself, in her browser. The same goes for her sign-ins,
  of which `sessions` shows a token only those of its own person.
- What people do to agents of their own without any duty: on the page /me/.
- Acts on many rows at once, search across everything, and texts to paste into clients: these are for people at a
  screen. A script goes through the rows.
- Previews of changes to agents, people, teams, tools, connectors, freezes and the organization: on their forms.
  Bundles, policies and roles, by which access is given, have `preview` here; `reach` tells what a change came to.
- To apply a manifest, to back up, to restore and to change keys: commands, as they need files of the machine."""


class ErrorShown(Strict):
    field = serializers.CharField(help_text="Where, as in rules[1].effect; empty when it is about the whole.")
    code = serializers.CharField()
    message = serializers.CharField()


class ProblemShown(Strict):
    """An error (RFC 9457). `code` is stable; `detail` is for people."""

    type = serializers.CharField()
    code = serializers.ChoiceField(choices=sorted(KINDS))
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    errors = ErrorShown(many=True)


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "gateway.api.authentication.TokenAuthentication"
    name = "personalToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        scopes = "\n".join(f"- `{name}`: {scope.description}" for name, scope in SCOPES.items())
        text = f"{HOW_TO_GET_ONE}\n\nScopes:\n{scopes}"
        return {"type": "http", "scheme": "bearer", "description": text}


class ApiSchema(AutoSchema):
    """Adds what all operations share: filters, preconditions, idempotency and problem documents."""

    def get_override_parameters(self) -> list[Any]:
        action = getattr(self.view, "action", "")
        headers = []
        if action == "list" and self.view.parameters:
            headers.append(self.view.parameters)
        if action == "retrieve":
            headers.append(_header("If-None-Match", "The ETag you have: 304 when it is still right."))
        if action in ("partial_update", "destroy"):
            headers.append(_header("If-Match", "The ETag of what you last read, or * to overwrite.", is_required=True))
        if action not in READS and self._of_act("writes", self.view.writes):
            text = "Repeating a request with its key repeats its answer."
            headers.append(_header("Idempotency-Key", text, pattern="^[!-~]{1,255}$"))
        return headers

    def _of_act(self, name: str, default: Any) -> Any:
        return getattr(getattr(self.view, getattr(self.view, "action", ""), None), name, default)

    def get_tags(self) -> list[str]:
        return [next(iter(self._tokenize_path()), "api")]

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        action = getattr(self.view, "action", "")
        if self._of_act("status", 200) == 201 and "200" in bodies:
            bodies["201"] = bodies.pop("200")
        codes = ALWAYS if action in READS else (*ALWAYS, *ON_WRITES)
        if action in ("partial_update", "destroy"):
            codes = (*codes, 428)
        if action == "retrieve":
            bodies["304"] = {"description": "Unchanged."}
        self.resolve_serializer(ProblemShown, "response")
        return bodies | {str(code): {"$ref": f"#/components/responses/Problem{code}"} for code in sorted(codes)}


def _header(name: str, description: str, *, is_required: bool = False, pattern: str = "") -> OpenApiParameter:
    text = {"type": "string", **({"pattern": pattern} if pattern else {})}
    return OpenApiParameter(name, text, OpenApiParameter.HEADER, required=is_required, description=description)


def finish(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Bodies with members that nobody reads are refused, so the schema must not allow them."""
    result["info"]["description"] += f"\n\n{ELSEWHERE}"
    components = result["components"]
    for name, component in components["schemas"].items():
        if name.endswith("Request") and component.get("type") == "object":
            component["additionalProperties"] = False
    components["responses"] = {f"Problem{code}": _problem_body(code) for code in (*ALWAYS, *ON_WRITES, 428)}
    return result


def _problem_body(code: int) -> dict[str, Any]:
    titles = "; ".join(kind.title for kind in KINDS.values() if kind.status == code)
    schema = {"$ref": "#/components/schemas/ProblemShown"}
    return {"description": f"{titles}.", "content": {MEDIA_TYPE: {"schema": schema}}}
