"""What reaches over the seams of one call: from what the upstream said to what it says next, from part to part of its
result."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from gateway.call import Intent
from gateway.ports import Ports
from governance.inspection.findings import Findings
from governance.inspection.seams import Run, spread, stretches


async def with_seams(
    intent: Intent,
    runs: Callable[[], Iterable[Run]],
    names: frozenset[str],
    found: Findings,
    ports: Ports,
    *,
    size: int,
) -> Findings:
    """And with what is there only where texts are put together. `size` is that of all of them, in bytes."""
    beside, said = ports.inspector.beside, intent.said.tails
    joined = await beside(lambda: stretches(runs(), said), size=size)
    if not joined:
        return found
    texts = [stretch.text for stretch in joined]
    snapshot = intent.call.caller.snapshot
    looked = await ports.inspector.look(texts, names, size=sum(map(len, texts)), snapshot=snapshot)
    crossing = await beside(partial(spread, joined, looked, found), size=size)
    return replace(found, found=(*found.found, *crossing)) if crossing else found
