"""A call that cannot go on before a human has opened the way on a page, e.g. connected an account.

The page says nothing back to the call: whoever comes again is decided anew. What the client's user clicks is no right.
"""

from typing import Final

from audit.event import uuid7
from gateway.call import Answer, Frame
from gateway.mcp.context import Context
from gateway.mcp.errors import URL_ELICITATION_REQUIRED
from gateway.mcp.holding import elicits
from gateway.mcp.inputs import ASKABLE, State, asked, seal_state
from gateway.mcp.revisions import NEWEST_LEGACY

QUESTION: Final = "page"
TURNS: Final = 5
"""How often a client is sent there for one call; then its model is told."""
MESSAGE: Final = "Connect your account, so that this call can be made with it."


def to_page(context: Context, frame: Frame, answer: Answer, state: State | None) -> Answer:
    """The answer as a client gets it that can send its user to a page; the same for one that cannot."""
    if not answer.page or not elicits(context, "url"):
        return answer
    params = {"mode": "url", "url": answer.page, "message": MESSAGE}
    if context.is_modern and frame.method in ASKABLE and not frame.resumed:
        turn = state.turn if state is not None and state.page else 0
        if turn >= TURNS:
            return answer
        sealed = seal_state(context, frame, page=True, turn=turn + 1)
        return asked({QUESTION: {"method": "elicitation/create", "params": params}}, sealed)
    if context.revision == NEWEST_LEGACY and context.session is not None:
        page = params | {"elicitationId": str(uuid7())}
        error = {"code": URL_ELICITATION_REQUIRED, "message": MESSAGE, "data": {"elicitations": [page]}}
        return Answer(error=error)
    return answer
