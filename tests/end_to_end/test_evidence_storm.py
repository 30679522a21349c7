"""Gateways, sequencers, workers and the database die at any moment, under load, with two sequencers at once: no call is
acknowledged without both records, the log has no gap and never forks, and every leaf reaches every sink.
"""

import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.evidence_storm import (
    BUCKET,
    EVIDENCE_FAULTS,
    Anchors,
    EvidenceHouse,
    EvidenceStorm,
    Hook,
    kafka,
    kafka_arrivals,
    leaves_of,
    objections,
    sinks,
    stored_arrivals,
)
from tests.end_to_end.histories import check
from tests.end_to_end.storm_world import PrivateServer, World, made, private_server, told
from tests.object_store import object_store

SAMPLE_SECONDS = 6.0
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "300"))
MOST_ANCHORS = 100


def weather(
    world: World[EvidenceHouse], folder: Path, *, seed: int, seconds: float, server: PrivateServer | None, **many: int
) -> tuple[EvidenceStorm, Anchors, str]:
    """A storm; what it left is sealed, signed and sent by the time this returns."""
    world.house.one_in = many["one_in"]
    world.house.start_gateway(many["gateways"])
    world.house.start_parts(sequencers=2, workers=many["workers"])
    anchors = Anchors(world.house, folder / "kept", every=max(0.5, seconds / MOST_ANCHORS))
    anchors.start()
    storm = EvidenceStorm(world.house, world.upstream, world.keys, seed=seed, server=server, crash=world.crash)
    storm.run(list(EVIDENCE_FAULTS), agents=many["agents"], seconds=seconds)
    evidence = world.recovered()
    world.house.finish()
    anchors.end()
    story = told(storm, evidence)
    print(story)
    assert check(storm.recorder, evidence) == []
    return storm, anchors, story


@pytest.mark.databases("postgres")
def test_a_storm_over_all_that_makes_evidence(request: pytest.FixtureRequest, database: str, tmp_path: Path) -> None:
    postgres_url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    with ExitStack() as stack:
        hook, brokers = stack.enter_context(Hook().serving()), stack.enter_context(kafka())
        more, secrets = sinks(hook=hook.url, brokers=brokers)
        world = stack.enter_context(
            made(tmp_path, database, postgres_url, of=EvidenceHouse, more=more, environment=secrets, keys=2)
        )
        storm, anchors, story = weather(
            world, tmp_path, seed=1, seconds=SAMPLE_SECONDS, server=None, gateways=1, workers=1, agents=8, one_in=0
        )
        leaves = leaves_of(world.house)
        arrivals = [hook.arrivals, kafka_arrivals(brokers, len(leaves))]
        assert objections(world.house, leaves, arrivals, anchors.files) == [], story
        assert set(EVIDENCE_FAULTS) <= set(storm.faults), story


@pytest.mark.soak
def test_a_long_storm_over_all_that_makes_evidence(
    request: pytest.FixtureRequest, database: str, tmp_path: Path
) -> None:
    """On PostgreSQL with a server of its own, which is killed like everybody else."""
    with ExitStack() as stack:
        server = stack.enter_context(private_server()) if database == "postgres" else None
        hook, store = stack.enter_context(Hook().serving()), stack.enter_context(object_store())
        store.locked_bucket(BUCKET)
        more, secrets = sinks(hook=hook.url, store=store.url)
        world = stack.enter_context(
            made(tmp_path, database, server.url if server else "", of=EvidenceHouse, more=more, environment=secrets)
        )
        world.server = server
        seed = int(os.environ.get("SOAK_SEED", time.time_ns()))
        storm, anchors, story = weather(
            world,
            tmp_path,
            seed=seed,
            seconds=SOAK_SECONDS,
            server=server,
            gateways=2,
            workers=2,
            agents=16,
            one_in=5000,
        )
        leaves = leaves_of(world.house)
        arrivals = [hook.arrivals, stored_arrivals(store)]
        repeated = {one.name: sum(times > 1 for times in one.times.values()) for one in arrivals}
        print(f"{len(leaves):,} leaves, {len(anchors.files)} anchors, repeated {repeated}, seed {seed}")
        assert objections(world.house, leaves, arrivals, anchors.files) == [], story
        assert set(EVIDENCE_FAULTS) <= set(storm.faults), story
