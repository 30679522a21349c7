"""The governed request in a message, as the pipeline wants it."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.call import Frame
from gateway.mcp.context import Context
from gateway.mcp.errors import INVALID_PARAMS, ProtocolError
from gateway.mcp.revisions import META_CLIENT, client_label
from gateway.mcp.sessions import label_of

Params = dict[str, Any]

REASON = "com.gatehouse/reason"
"""Member of `_meta` in which an agent may say why it wants a call that humans must agree to."""
REASON_LIMIT = 2_000
CONTEXT = "com.gatehouse/context"
"""Member of `_meta` in which a client may say which conversation a call comes from; sealed with its arguments."""
CONTEXT_LIMIT = 8_000


def frame_of(context: Context) -> Frame:
    """Raises ProtocolError -32602 for parameters of the wrong shape."""
    try:
        name, arguments = READERS[context.message.method](context.message.params)
    except _WrongShape as error:
        raise invalid_params(context, str(error)) from None
    return bare_frame(context, name, arguments)


def bare_frame(context: Context, name: str = "", arguments: Any = None) -> Frame:
    """Who asks, from where and in which words, for what is governed but no single target."""
    session = context.session
    return Frame(
        token=context.token,
        bundle=context.bundle,
        name=name,
        arguments={} if arguments is None else arguments,
        revision=context.revision,
        session_id=label_of(session.digest) if session is not None else "",
        source_ip=context.request.source_ip,
        trace=context.message.trace,
        client=client_of(context),
        method=context.message.method,
        stated_reason=_stated(context.message.meta, REASON, REASON_LIMIT),
        stated_context=_stated(context.message.meta, CONTEXT, CONTEXT_LIMIT),
    )


def _stated(meta: Mapping[str, Any], member: str, limit: int) -> str:
    """What the agent's side says of the call; what is too long is nothing."""
    said = meta.get(member)
    return said if isinstance(said, str) and len(said) <= limit else ""


def client_of(context: Context) -> str:
    if context.session is not None:
        return context.session.client
    return client_label(context.message.meta.get(META_CLIENT))


def invalid_params(context: Context, text: str) -> ProtocolError:
    """Malformed requests are HTTP 400 in the modern era; before it, JSON-RPC errors are HTTP 200."""
    return ProtocolError(INVALID_PARAMS, text, status=400 if context.is_modern else 200)


class _WrongShape(Exception):
    """Says which parameter is wrong."""


def _text(params: Params, name: str) -> str:
    value = params.get(name)
    if not isinstance(value, str):
        raise _WrongShape(f"'{name}' must be a string.")
    return value


def _object(params: Params, name: str) -> Params:
    value = params.get(name)
    if not isinstance(value, dict):
        raise _WrongShape(f"'{name}' must be an object.")
    return value


def _named(params: Params) -> tuple[str, Any]:
    return _text(params, "name"), params.get("arguments")


def _at_uri(params: Params) -> tuple[str, Any]:
    uri = _text(params, "uri")
    return uri, {"uri": uri}


def _completion(params: Params) -> tuple[str, Any]:
    reference, argument = _object(params, "ref"), _object(params, "argument")
    member = {"ref/prompt": "name", "ref/resource": "uri"}.get(_text(reference, "type"))
    if member is None:
        raise _WrongShape("'ref' must be of type ref/prompt or ref/resource.")
    _text(argument, "name")
    _text(argument, "value")
    if params.get("context") is not None:
        _object(params, "context")
    kept = {key: params[key] for key in ("ref", "argument", "context") if params.get(key) is not None}
    return _text(reference, member), kept


READERS: dict[str, Callable[[Params], tuple[str, Any]]] = {
    "tools/call": _named,
    "prompts/get": _named,
    "resources/read": _at_uri,
    "completion/complete": _completion,
}
