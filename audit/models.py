"""What happened, as rows nobody changes. Triggers refuse it; `verify` finds it.

No foreign key leads out of or between these tables: evidence outlives what it describes, and a key to a
governed row deadlocks with its deletion.
"""

from datetime import UTC, datetime

from django.db import models

from audit.fingerprints import Fingerprints


class EventRow(models.Model):
    """One event: `header` is the truth that gets hashed, the other columns repeat it for screens and queries.

    Every call pays for each index entry. All events of an agent have one, for open calls must be found at once. By
    tool and person only what settled a call has one, and by decision, outcome, kind and actor only what is rarer
    than a call that went well. By session it is what began a call, which leads to its outcome. There is none on time:
    ids are time-ordered, so a range of ids is a range of time.
    """

    id = models.UUIDField(primary_key=True)
    kind = models.TextField()
    at = models.DateTimeField()
    call_id = models.UUIDField(null=True)
    actor = models.TextField(db_default="")
    agent = models.TextField(db_default="")
    person = models.TextField(db_default="")
    connector = models.TextField(db_default="")
    tool = models.TextField(db_default="")
    decision = models.TextField(db_default="")
    outcome = models.TextField(db_default="")
    process_id = models.UUIDField(null=True)
    session = models.UUIDField(null=True)
    epoch = models.BigIntegerField(db_default=0)
    decided_epoch = models.BigIntegerField(db_default=0)
    header = models.BinaryField()

    class Meta:
        db_table = "audit_event"
        verbose_name = "event"
        constraints = (
            models.UniqueConstraint(
                fields=("call_id", "kind"),
                condition=models.Q(call_id__isnull=False),
                name="audit_event_once_per_call",
            ),
        )
        indexes = (
            models.Index(fields=("agent", "id"), name="audit_event_by_agent"),
            models.Index(
                fields=("tool", "id"), condition=~models.Q(kind="call.intent"), name="audit_event_tool_settled"
            ),
            models.Index(
                fields=("person", "id"), condition=~models.Q(kind="call.intent"), name="audit_event_by_person"
            ),
            models.Index(
                fields=("decision", "id"),
                condition=models.Q(decision__in=("deny", "ask")),
                name="audit_event_by_decision",
            ),
            models.Index(
                fields=("outcome", "id"),
                condition=~models.Q(outcome__in=("", "ok")),
                name="audit_event_by_outcome",
            ),
            models.Index(fields=("kind", "id"), condition=models.Q(call_id__isnull=True), name="audit_event_by_kind"),
            models.Index(fields=("actor", "id"), condition=models.Q(call_id__isnull=True), name="audit_event_by_actor"),
            models.Index(
                fields=("session", "id"),
                condition=models.Q(session__isnull=False) & ~models.Q(kind="call.outcome"),
                name="audit_event_by_session",
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class Payload(models.Model):
    """The sealed body of an event, beside it so that it can be read, kept and erased apart."""

    event_id = models.UUIDField(primary_key=True)
    key_id = models.TextField()
    sealed = models.BinaryField()

    class Meta:
        db_table = "audit_payload"

    def __str__(self) -> str:
        return f"payload of {self.event_id}"


class Pending(models.Model):
    """The queue in front of the leaves: committed events the sequencer has not yet placed."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)

    class Meta:
        db_table = "audit_pending"
        verbose_name_plural = "pending"

    def __str__(self) -> str:
        return f"pending {self.event_id}"


class Leaf(models.Model):
    """An event's place in the Merkle log; indexes have no gaps, so they are the export cursor as well."""

    index = models.BigIntegerField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    hash = models.BinaryField(max_length=32)

    class Meta:
        db_table = "audit_leaf"
        verbose_name_plural = "leaves"
        constraints = (models.CheckConstraint(condition=models.Q(index__gte=0), name="audit_leaf_index_not_negative"),)

    def __str__(self) -> str:
        return f"leaf {self.index}"


class Pruning(models.Model):
    """What may be deleted of the evidence, because a record says so: the triggers let go just that.

    Either leaves `first` to `past` (exclusive) whose records are pruned, or the payloads under one key, of one person
    if it is one that several share. `verify` does not trust this table: it reads the records themselves.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField()
    first = models.BigIntegerField(null=True)
    past = models.BigIntegerField(null=True)
    key_id = models.TextField(db_default="")
    person = models.TextField(db_default="")

    class Meta:
        db_table = "audit_pruning"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(first__isnull=False, past__gt=models.F("first"), key_id="", person="")
                | models.Q(first=None, past=None) & ~models.Q(key_id=""),
                name="pruning_of_records_or_of_payloads",
            ),
        )
        indexes = (
            models.Index(fields=("first",), name="audit_pruning_by_leaf"),
            models.Index(fields=("key_id",), name="audit_pruning_by_key"),
        )

    def __str__(self) -> str:
        return f"pruning by {self.event_id}"


class Checkpoint(models.Model):
    """A signed statement of the log's size and root; from `frontier` the next sequencer goes on."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField(max_length=32)
    frontier = models.BinaryField()
    at = models.DateTimeField()
    note = models.TextField()

    class Meta:
        db_table = "audit_checkpoint"

    def __str__(self) -> str:
        return f"checkpoint of {self.size} leaves"


class AnchorReceipt(models.Model):
    """That a checkpoint was kept elsewhere: `anchor` by name, `reference` where or when, `proof` what it signed.

    For people and for stamps. What an anchor itself still says is read back from there, never believed from here.
    """

    anchor = models.TextField()
    size = models.BigIntegerField()
    at = models.DateTimeField()
    note = models.TextField()
    reference = models.TextField(blank=True)
    proof = models.BinaryField(default=b"")

    class Meta:
        db_table = "audit_anchor_receipt"
        constraints = (models.UniqueConstraint(fields=("anchor", "size"), name="one_receipt_per_anchor_and_size"),)

    def __str__(self) -> str:
        return f"checkpoint of {self.size} leaves at {self.anchor}"


class CallTally(models.Model):
    """Calls of one hour, counted from their evidence for the home page; may be thrown away and counted anew.

    A refused call has its decision and no duration; a call that was sent counts once, with its outcome. Durations
    are the upstream's: their sum and the longest, in milliseconds.
    """

    hour = models.DateTimeField()
    agent = models.TextField(db_default="")
    connector = models.TextField(db_default="")
    tool = models.TextField(db_default="")
    decision = models.TextField(db_default="")
    outcome = models.TextField(db_default="")
    calls = models.BigIntegerField(default=0)
    upstream_ms = models.FloatField(default=0)
    slowest_ms = models.FloatField(default=0)

    class Meta:
        db_table = "audit_call_tally"
        verbose_name_plural = "call tallies"
        constraints = (
            models.UniqueConstraint(
                fields=("hour", "agent", "connector", "tool", "decision", "outcome"), name="call_tally_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.calls} calls of {self.agent} in {self.hour:%Y-%m-%d %H}h"


class AgentSession(models.Model):
    """One run of an agent for one person, summed up from its calls as they end; may be thrown away and counted anew.

    `began` is the id of its first call: ids are time-ordered, so this is the order of the list.
    """

    id = models.UUIDField(primary_key=True)
    began = models.UUIDField(unique=True)
    agent = models.TextField(db_default="")
    person = models.TextField(db_default="")
    last_at = models.DateTimeField()
    calls = models.BigIntegerField(default=0)
    refused = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)

    class Meta:
        db_table = "audit_session"
        verbose_name = "session"
        indexes = (
            models.Index(fields=("agent", "began"), name="audit_session_by_agent"),
            models.Index(fields=("person", "began"), name="audit_session_by_person"),
        )

    def __str__(self) -> str:
        return f"session {self.id} of {self.agent}"

    @property
    def began_at(self) -> datetime:
        return datetime.fromtimestamp((self.began.int >> 80) / 1000, UTC)


class TallyCursor(models.Model):
    """How far the log has been counted: the next leaf to read."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    next_leaf = models.BigIntegerField(default=0)

    class Meta:
        db_table = "audit_tally_cursor"
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_tally_cursor"),)

    def __str__(self) -> str:
        return str(self.next_leaf)


class SearchEntry(models.Model):
    """By which words, labels and findings a call is found, as keyed fingerprints; filled behind a cursor, never by a
    call. `event_id` is what ended the call, `key_id` the key that seals what the words are from: with it they go.

    May be thrown away and made anew from the evidence.
    """

    event_id = models.UUIDField(primary_key=True)
    key_id = models.TextField(db_default="")
    fingerprints = Fingerprints()

    class Meta:
        db_table = "audit_search_entry"
        verbose_name_plural = "search entries"
        indexes = (models.Index(fields=("key_id",), name="audit_search_by_key"),)

    def __str__(self) -> str:
        return f"words of {self.event_id}"


class SearchCursor(models.Model):
    """How far the log can be searched by words: the next leaf to read."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    next_leaf = models.BigIntegerField(default=0)

    class Meta:
        db_table = "audit_search_cursor"
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_search_cursor"),)

    def __str__(self) -> str:
        return str(self.next_leaf)


class Mention(models.Model):
    """Which evidence of governed changes names a governed row, in any id column: that row's history.

    Written by the trigger that writes the evidence, in the same statement; may be thrown away and made anew from it.
    """

    id = models.BigAutoField(primary_key=True)
    object_id = models.CharField(max_length=32)
    event_id = models.UUIDField()

    class Meta:
        db_table = "audit_mention"
        indexes = (models.Index(fields=("object_id", "id"), name="audit_mention_of_object"),)

    def __str__(self) -> str:
        return f"{self.object_id} in {self.event_id}"


class SinkCursor(models.Model):
    """How far one sink is: every leaf before `acked_index` has been acknowledged or is a dead letter.

    `next_index` ends the batch that was begun; whoever comes after a crash sends exactly that batch again. Only the
    holder of `lease` moves it. What is refused waits until a human resumes it or changes the sink, whose `version`
    then differs. What somebody asked for (a sample, its dead letters once more) is done by whoever sends.
    """

    sink = models.UUIDField(primary_key=True)
    acked_index = models.BigIntegerField(default=0)
    next_index = models.BigIntegerField(default=0)
    lease = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    acked_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    refused_version = models.CharField(max_length=64, default="")
    last_error = models.CharField(max_length=300, default="")
    last_error_at = models.DateTimeField(null=True)
    checkpoint_size = models.BigIntegerField(default=0)
    checkpoint_at = models.DateTimeField(null=True)
    sample_asked_at = models.DateTimeField(null=True)
    sample_said = models.CharField(max_length=300, default="", db_default="")
    sample_said_at = models.DateTimeField(null=True)
    retry_asked_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_sink_cursor"
        constraints = (
            models.CheckConstraint(
                condition=models.Q(acked_index__gte=0) & models.Q(next_index__gte=models.F("acked_index")),
                name="sink_cursor_in_order",
            ),
        )

    def __str__(self) -> str:
        return f"sink {self.sink} at leaf {self.acked_index}"


class DeadLetter(models.Model):
    """A leaf that one sink does not take. It is written anew from the evidence whenever it is tried again."""

    id = models.BigAutoField(primary_key=True)
    sink = models.UUIDField()
    index = models.BigIntegerField()
    event_id = models.UUIDField()
    error = models.CharField(max_length=300)
    attempts = models.PositiveIntegerField(default=1)
    at = models.DateTimeField()

    class Meta:
        db_table = "audit_dead_letter"
        constraints = (models.UniqueConstraint(fields=("sink", "index"), name="dead_letter_once"),)

    def __str__(self) -> str:
        return f"leaf {self.index} for sink {self.sink}"


class FindingGroup(models.Model):
    """What inspection found of one rule and one value at one tool, counted from the log, and what humans say of it.

    `fingerprint` is keyed; empty stands for values that are not told apart. The id is made of these four.
    """

    TRUE, FALSE = "true", "false"

    id = models.UUIDField(primary_key=True)
    rule = models.TextField()
    kind = models.TextField()
    version = models.IntegerField(db_default=0)
    fingerprint = models.TextField(db_default="")
    connector = models.TextField(db_default="")
    tool = models.TextField(db_default="")
    records = models.BigIntegerField(db_default=0)
    """How many records of calls tell of it; `excepted` of them under an exception."""
    excepted = models.BigIntegerField(db_default=0)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    verdict = models.TextField(db_default="")
    note = models.TextField(db_default="")
    judged_by = models.TextField(db_default="")
    judged_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "audit_finding"
        verbose_name = "finding"
        indexes = (
            models.Index(fields=("-last_at", "id"), name="audit_finding_newest"),
            models.Index(fields=("rule", "connector", "tool"), name="audit_finding_by_rule"),
            models.Index(fields=("tool", "-last_at"), name="audit_finding_by_tool"),
            models.Index(fields=("verdict", "-last_at"), name="audit_finding_by_verdict"),
        )

    def __str__(self) -> str:
        return f"{self.rule} at {self.tool}"


class Sighting(models.Model):
    """One record of a call that tells of a finding: where it was, never what."""

    id = models.BigAutoField(primary_key=True)
    group = models.UUIDField()
    leaf = models.BigIntegerField()
    event_id = models.UUIDField()
    call_id = models.UUIDField(null=True)
    session = models.UUIDField(null=True)
    at = models.DateTimeField()
    in_result = models.BooleanField()
    path = models.TextField(db_default="")
    count = models.BigIntegerField(db_default=0)
    agent = models.TextField(db_default="")
    person = models.TextField(db_default="")
    exception = models.TextField(db_default="")
    """The name of what excepted it."""

    class Meta:
        db_table = "audit_sighting"
        constraints = (models.UniqueConstraint(fields=("group", "leaf"), name="audit_sighting_once"),)
        indexes = (
            models.Index(fields=("leaf",), name="audit_sighting_by_leaf"),
            models.Index(fields=("person", "group"), name="audit_sighting_by_person"),
            models.Index(fields=("agent", "group"), name="audit_sighting_by_agent"),
        )

    def __str__(self) -> str:
        return f"leaf {self.leaf} of {self.group}"


class FindingCursor(models.Model):
    """How far the log has been looked through for findings: the next leaf to read."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    next_leaf = models.BigIntegerField(default=0)
    pack = models.TextField(db_default="")
    """The pack of detection rules that was last noted."""

    class Meta:
        db_table = "audit_finding_cursor"
        constraints = (models.CheckConstraint(condition=models.Q(id=1), name="one_finding_cursor"),)

    def __str__(self) -> str:
        return str(self.next_leaf)
