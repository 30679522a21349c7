"""What the gateway itself keeps in the database."""

import uuid
from datetime import timedelta

from django.apps import AppConfig
from django.conf import settings
from django.db import connections, models
from django.db.models.signals import post_migrate
from django.dispatch import receiver

from gateway.runtime_role import grant_to_who_serves
from governance.fence import triggers

IDEMPOTENCY_LIFETIME = timedelta(hours=24)


class GatewayProcess(models.Model):
    """A running gateway process: its heartbeat, the epoch it applies, and a bound on what it may have in flight.

    `oldest_in_flight` is an event id (time-ordered): no open intent of this process is older. None when it has ended
    and whatever it left open is closed.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True)
    applied_epoch = models.BigIntegerField(default=0)
    calls_in_flight = models.IntegerField(default=0)
    oldest_in_flight = models.UUIDField(null=True)
    upstreams = models.JSONField(default=list, db_default=[])
    """What it says of upstreams that do not work as usual, see `resilience.UpstreamState`."""

    class Meta:
        ordering = ("-started_at",)
        verbose_name_plural = "gateway processes"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"


class Probe(models.Model):
    """A question to all gateway processes: does any of these credentials still open anything? It names rows, never
    what is kept of a credential; each process looks that up itself and tries it as it tries a caller's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    asked_at = models.DateTimeField(db_index=True)
    asked_by = models.CharField(max_length=300)
    credentials = models.JSONField(default=list)
    """Hexadecimal ids."""

    def __str__(self) -> str:
        return f"probe of {len(self.credentials)} credentials"


class ProbeAnswer(models.Model):
    """What one process found: how many it tried, at which epoch, and which of them it would have let in."""

    probe = models.ForeignKey(Probe, on_delete=models.CASCADE, related_name="answers")
    process_id = models.UUIDField()
    epoch = models.BigIntegerField()
    tried = models.PositiveIntegerField()
    live = models.JSONField(default=list)
    answered_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("probe", "process_id"), name="probe_answered_once"),)

    def __str__(self) -> str:
        return f"{self.tried} tried, {len(self.live)} live"


class IdempotentAnswer(models.Model):
    """What a write of the REST API answered, kept so that repeating its Idempotency-Key repeats the answer.

    `request_digest` is of method, path and body: the same key with another request is an error.
    """

    person_id = models.UUIDField()
    key = models.CharField(max_length=255)
    request_digest = models.BinaryField(max_length=32)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.BinaryField(default=bytes)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("person_id", "key"), name="idempotency_key_once_per_person"),)

    def __str__(self) -> str:
        return self.key


class McpSession(models.Model):
    """A session of a client up to 2025-11-25, so that any process can serve any of its requests. Bound to its agent
    and endpoint; never authentication. `digest` is the SHA-256 of its id."""

    digest = models.BinaryField(max_length=32, primary_key=True)
    agent_id = models.UUIDField(db_index=True)
    bundle = models.CharField(max_length=63, blank=True)
    revision = models.CharField(max_length=10)
    capabilities = models.JSONField(default=dict)
    client = models.CharField(max_length=130, blank=True)
    log_level = models.CharField(max_length=10, blank=True)
    subscriptions = models.JSONField(default=list)
    created_at = models.DateTimeField()
    seen_at = models.DateTimeField(db_index=True)
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.client or 'session'} ({self.revision})"

    @property
    def name_in_addresses(self) -> str:
        return bytes(self.digest).hex()


class McpTask(models.Model):
    """A request that is answered later, in either of the protocol's two forms. Bound to its agent and endpoint.

    `digest` is the SHA-256 of its id; `content` holds, sealed, its result or error or what it asks of the client.
    """

    class Status(models.TextChoices):
        WORKING = "working"
        INPUT_REQUIRED = "input_required"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    digest = models.BinaryField(max_length=32, primary_key=True)
    agent_id = models.UUIDField(db_index=True)
    bundle = models.CharField(max_length=63, blank=True)
    is_modern = models.BooleanField()
    status = models.CharField(max_length=14, choices=Status, default=Status.WORKING)
    status_message = models.CharField(max_length=300, blank=True)
    process_id = models.UUIDField(help_text="Who runs it; if that process ends, the task fails.")
    approval_key = models.UUIDField(null=True, help_text="It waits for this approval; then nobody runs it yet.")
    held_call = models.BinaryField(null=True, help_text="Sealed: what is to run then.")
    content = models.BinaryField(default=bytes)
    ttl_ms = models.PositiveBigIntegerField()
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"task of {self.created_at:%Y-%m-%d %H:%M:%S}: {self.status}"


class RunLabel(models.Model):
    """What an agent met in a run: a data class, `untrusted`, or `held`. Written before the agent sees the result."""

    agent_id = models.UUIDField()
    session = models.CharField(max_length=64)
    """Hash of what names the run; empty where nothing does."""
    label = models.CharField(max_length=64)
    at = models.DateTimeField(db_index=True)
    """When it was met last."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("agent_id", "session", "label"), name="run_label_once"),)

    def __str__(self) -> str:
        return self.label


class RunDestination(models.Model):
    """Somewhere an agent could send to, and whether it knew of it from untrusted text first. Never the place itself."""

    agent_id = models.UUIDField()
    session = models.CharField(max_length=64)
    """As of its labels."""
    digest = models.CharField(max_length=32)
    """Keyed, and of this agent only; `*` where it met more than is kept."""
    is_trusted = models.BooleanField()
    at = models.DateTimeField(db_index=True)
    """When it was met last."""

    class Meta:
        constraints = (models.UniqueConstraint(fields=("agent_id", "session", "digest"), name="run_destination_once"),)
        indexes = (models.Index(fields=("agent_id", "digest"), name="run_destination_of_agent"),)

    def __str__(self) -> str:
        return f"{self.digest} ({'trusted' if self.is_trusted else 'untrusted'})"


class SentTo(models.Model):
    """Somewhere an agent has sent something; never the place itself."""

    agent_id = models.UUIDField()
    digest = models.CharField(max_length=16)
    """Keyed, and of this agent only; or one of the signs of `sent_to.py`."""
    first_at = models.DateTimeField()
    last_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("agent_id", "digest"), name="sent_to_once"),)

    def __str__(self) -> str:
        return self.digest


class SentPiece(models.Model):
    """What calls sent that may be pieces of something, for half an hour: sealed, and bound to the agent."""

    id = models.BigAutoField(primary_key=True)
    agent_id = models.UUIDField()
    person_id = models.UUIDField()
    process_id = models.UUIDField()
    sealed = models.BinaryField()
    at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = (models.Index(fields=("agent_id", "id"), name="sent_piece_of_agent"),)

    def __str__(self) -> str:
        return f"of {self.at:%H:%M:%S}"


class Notice(models.Model):
    """A message to be sent, or sent: `reference` is what its channel calls it, by which it is rewritten later.

    One about an approval request is written in the transaction of the request's change, and sent by a worker.
    """

    class Kind(models.TextChoices):
        ASKED = "asked", "An approval is wanted"
        ENDED = "ended", "It is decided or over"
        ESCALATED = "escalated", "Nobody answered"
        BREAK_GLASS = "break_glass", "Break-glass"
        REVIEW = "review", "A draft waits for review"
        FROZEN = "frozen", "A reaction froze something"
        DIRECTORY = "directory", "A directory takes away from many"
        ROTATION = "rotation", "Something is to be replaced"
        EVIDENCE = "evidence", "Something is wrong with the evidence"
        ATTEST = "attest", "Access is to be attested"
        CANARY = "canary", "A planted value turned up"

    kind = models.CharField(max_length=11, choices=Kind)
    channel_id = models.UUIDField(null=True)
    """None: e-mail."""
    person_id = models.UUIDField(null=True)
    request_number = models.BigIntegerField(null=True, db_index=True)
    subject = models.CharField(max_length=300)
    body = models.JSONField(default=dict)
    written_at = models.DateTimeField()
    next_try_at = models.DateTimeField(db_index=True)
    tries = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)
    reference = models.CharField(max_length=200, blank=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return self.subject


class EvidenceIncident(models.Model):
    """Something that is wrong with the evidence, from when it was first seen; told once."""

    name = models.CharField(max_length=100, primary_key=True)
    since = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.name


class Letter(models.Model):
    """What one gateway process tells another, sealed; read by whoever waits for its topic."""

    topic = models.CharField(max_length=100, db_index=True)
    body = models.BinaryField()
    written_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.topic


class AccountConnection(models.Model):
    """A person is away at a provider, connecting an account; found by the digest of `state`, sealed, for one use."""

    digest = models.BinaryField(max_length=32, primary_key=True)
    person_id = models.UUIDField(db_index=True)
    sealed = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"connection until {self.expires_at:%H:%M}"


class StreamEvent(models.Model):
    """An event of a resumable stream, sealed, so that any process can repeat it to a client that lost it."""

    stream = models.BinaryField(max_length=32)
    number = models.PositiveIntegerField()
    body = models.BinaryField()
    written_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("stream", "number"), name="stream_event_once"),)

    def __str__(self) -> str:
        return f"event {self.number}"


class LimitUse(models.Model):
    """What all processes together have taken of a limit in one window. The row of window 0 counts nothing: it is locked
    by who takes places of the limit (`LimitPlaces`)."""

    limit_id = models.UUIDField()
    subject = models.CharField(max_length=64)
    window = models.BigIntegerField(help_text="Number of the window since 1970.")
    requests = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("limit_id", "subject", "window"), name="limit_use_once_per_window"),
        )

    def __str__(self) -> str:
        return f"{self.limit_id} {self.subject}"


class LimitPlaces(models.Model):
    """How many calls at once one process may run under a limit. Those of a process that has ended are free."""

    limit_id = models.UUIDField()
    subject = models.CharField(max_length=64)
    process_id = models.UUIDField()
    places = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("limit_id", "subject", "process_id"), name="limit_places_once_per_process"),
        )

    def __str__(self) -> str:
        return f"{self.limit_id} {self.subject}: {self.places}"


class KeySetCopy(models.Model):
    """An issuer's published keys as they were last fetched, for all processes, and when somebody last tried. It allows
    nobody anything: which issuers count is governed."""

    source = models.BinaryField(primary_key=True, max_length=32, help_text="Digest of the issuer and its address.")
    issuer = models.CharField(max_length=500)
    keys = models.JSONField(default=dict)
    fetched_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(db_index=True)
    problem = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"keys of {self.issuer}"


class ClientDocument(models.Model):
    """When the document of a client that describes itself was last read, and last tried. What it says is in its row."""

    digest = models.BinaryField(primary_key=True, max_length=32, help_text="Of its address.")
    client_id = models.CharField(max_length=255)
    fetched_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(db_index=True)
    problem = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"document {self.client_id}"


class ClientRegistration(models.Model):
    """By what a client that registered itself may look after its registration (RFC 7592)."""

    client_id = models.CharField(primary_key=True, max_length=255)
    digest = models.BinaryField(max_length=32, unique=True)
    registered_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"registration of {self.client_id}"


class SpentAssertion(models.Model):
    """A signed statement that was taken, so that nobody takes it again while it holds."""

    digest = models.BinaryField(primary_key=True, max_length=32, help_text="Of its issuer and its id.")
    keep_until = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"spent, kept until {self.keep_until}"


class Report(models.Model):
    """An evidence report that was asked for. Its files are made again by whoever wants them: they go after 90 days."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        MAKING = "making", "Being made"
        DONE = "done", "Done"
        FAILED = "failed", "Could not be made"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    pack = models.CharField(max_length=40)
    since = models.DateTimeField()
    until = models.DateTimeField()
    person = models.CharField(max_length=254, blank=True, help_text="Whose data it is about.")
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    asked_by = models.CharField(max_length=300)
    asked_at = models.DateTimeField(db_index=True)
    begun_at = models.DateTimeField(null=True)
    made_at = models.DateTimeField(null=True)
    told = models.JSONField(default=dict, help_text="Lines of each section, and digests of the files.")
    problem = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ("-asked_at",)
        indexes = (
            models.Index(fields=("asked_at",), condition=models.Q(state__in=("waiting", "making")), name="report_due"),
        )

    def __str__(self) -> str:
        return f"{self.pack} {self.since:%Y-%m-%d} to {self.until:%Y-%m-%d}"


class ReportPart(models.Model):
    """A stretch of a report's file: files may be large, and no process holds one whole."""

    id = models.BigAutoField(primary_key=True)
    report = models.ForeignKey(Report, on_delete=models.CASCADE, related_name="parts")
    file = models.CharField(max_length=40)
    number = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("report", "file", "number"), name="report_part_once"),)

    def __str__(self) -> str:
        return f"{self.file}, part {self.number}"


class MaskedValue(models.Model):
    """What a token of a reversible mask stands for, for as long as its run may want it back.

    `run` is a digest of agent, person and session; `fingerprint` is keyed and of this run alone. The value is sealed
    under a payload key of the person, so it is gone with that.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.CharField(max_length=64)
    label = models.CharField(max_length=80)
    number = models.PositiveIntegerField()
    fingerprint = models.CharField(max_length=64)
    agent_id = models.UUIDField()
    person_id = models.UUIDField(db_index=True)
    session = models.UUIDField(db_index=True)
    key_id = models.UUIDField()
    sealed = models.BinaryField()
    made_at = models.DateTimeField()
    keep_until = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("run", "label", "number"), name="masked_value_token_once"),
            models.UniqueConstraint(fields=("run", "fingerprint"), name="masked_value_once"),
        )

    def __str__(self) -> str:
        return f"{self.label}#{self.number}"


class SavedSearch(models.Model):
    """A search of evidence that somebody keeps under a name, for herself or for all who may search. What she looked
    for in texts may be a secret, so it is sealed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_searches")
    name = models.CharField(max_length=100)
    filters = models.JSONField(default=dict)
    sealed_text = models.BinaryField(default=b"")
    is_shared = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")
        verbose_name_plural = "saved searches"
        constraints = (models.UniqueConstraint(fields=("owner", "name"), name="saved_search_once"),)

    def __str__(self) -> str:
        return self.name


@receiver(post_migrate)
def install_triggers(app_config: AppConfig, using: str, **_: object) -> None:
    """After our own migrations, which come last: the tables and functions the triggers need are there then."""
    if app_config.label == "gateway":
        triggers.install(connections[using])
        grant_to_who_serves(connections[using])
