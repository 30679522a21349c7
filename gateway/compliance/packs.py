"""Which evidence answers which control of which framework. A pack certifies nothing: it says, control by control, what
our evidence shows and what it does not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Control:
    """`shows` and `does_not` are one honest sentence each."""

    reference: str
    title: str
    sections: tuple[str, ...]
    shows: str
    does_not: str


@dataclass(frozen=True, slots=True)
class Pack:
    """Reports of a framework, as far as a gateway has evidence for it."""

    key: str
    title: str
    controls: tuple[Control, ...]

    @property
    def sections(self) -> tuple[str, ...]:
        """Each once, in the order in which controls first name them."""
        return tuple(dict.fromkeys(section for control in self.controls for section in control.sections))


SOC2 = Pack(
    "soc2",
    "SOC 2: logical access and system operations (CC6, CC7)",
    (
        Control(
            "CC6.1",
            "Logical access security",
            ("access", "duties", "sign-ins"),
            "Which agents and people held which tools, who could administer, and how they signed in.",
            "Access to the systems behind that does not pass this gateway.",
        ),
        Control(
            "CC6.2",
            "Registration and authorization before access",
            ("access-changes", "approvals"),
            "Each gift of access with who gave it, and each approval with who asked and who decided.",
            "Whether whoever gave it had good reasons beyond those that were written down.",
        ),
        Control(
            "CC6.3",
            "Access is changed and removed, least privilege",
            ("offboardings", "access-reviews"),
            "Each end of a person's access with its receipt, and each review with its decisions.",
            "That everybody who left was reported to the gateway.",
        ),
        Control(
            "CC6.6",
            "Threats from outside",
            ("denied",),
            "Calls that were refused, and how many strangers were turned away.",
            "Attacks that never reached the gateway.",
        ),
        Control(
            "CC6.7",
            "Protection of information in transmission",
            ("keys",),
            "When keys and secrets were issued, replaced and revoked.",
            "The strength of the transport encryption: that is the deployment's.",
        ),
        Control(
            "CC7.2",
            "Monitoring for anomalies",
            ("incidents", "evidence"),
            "What the gateway noticed and did by itself, and that the log was alive.",
            "That somebody looked at it.",
        ),
        Control(
            "CC7.3 - CC7.4",
            "Evaluating and responding to incidents",
            ("break-glass", "incidents"),
            "Emergency access with its review, freezes and emergency rotations with who ordered them.",
            "The handling of an incident outside the gateway.",
        ),
        Control(
            "CC8.1",
            "Changes are authorized",
            ("rule-changes",),
            "Changes of bundles and policies with author and, where it was required, second person.",
            "Changes of the gateway's own software and host.",
        ),
    ),
)

HIPAA = Pack(
    "hipaa",
    "HIPAA: audit controls (45 CFR 164.312(b)) and related standards",
    (
        Control(
            "164.312(b)",
            "Audit controls",
            ("calls", "denied", "evidence"),
            "Every call of an agent that ended or was refused in the period, recorded before it was sent.",
            "Which patient a call was about: arguments are sealed, and access to them is by permission.",
        ),
        Control(
            "164.312(a)(1)",
            "Access control",
            ("access", "duties", "break-glass"),
            "Who held which tools, who could administer, and emergency access with its review.",
            "Access inside the systems behind.",
        ),
        Control(
            "164.312(d)",
            "Person or entity authentication",
            ("sign-ins", "keys"),
            "How people signed in, and the life of agents' keys.",
            "The proofing of identities at the identity provider.",
        ),
        Control(
            "164.308(a)(1)(ii)(D)",
            "Information system activity review",
            ("access-reviews",),
            "Access reviews with each decision and the sign-off.",
            "Reviews that were held outside the gateway.",
        ),
        Control(
            "164.308(a)(3)(ii)(C)",
            "Termination procedures",
            ("offboardings",),
            "Each end of a person's access, step by step, with the digest of its receipt.",
            "The return of devices and badges.",
        ),
        Control(
            "164.308(a)(4)(ii)(C)",
            "Access establishment and modification",
            ("access-changes", "approvals"),
            "Who changed whose access, when, from what to what.",
            "Agreements with business associates.",
        ),
    ),
)

GDPR = Pack(
    "gdpr",
    "GDPR: access, erasure and accountability",
    (
        Control(
            "Art. 15",
            "Right of access by the data subject",
            ("person",),
            "All evidence that names the person, if the report was asked for one.",
            "Personal data in the systems behind, and inside sealed arguments and results.",
        ),
        Control(
            "Art. 17",
            "Right to erasure",
            ("erasures",),
            "When personal data became unreadable by the destruction of its keys, and what a legal hold kept.",
            "Copies that were exported before, and data in the systems behind.",
        ),
        Control(
            "Art. 5(2), 24",
            "Accountability",
            ("access-changes", "rule-changes"),
            "Who changed what agents may do with data, and when.",
            "The lawfulness of the processing itself.",
        ),
        Control(
            "Art. 25, 32",
            "Data protection by design, security of processing",
            ("access", "duties", "denied", "keys"),
            "Least privilege as it stood, refusals, and the rotation of keys.",
            "Measures outside the gateway.",
        ),
        Control(
            "Art. 33",
            "Notification of a breach",
            ("incidents", "evidence"),
            "What was noticed and when, and who looked into recorded arguments or took lists along.",
            "Whether an authority was notified.",
        ),
    ),
)

ISO27001 = Pack(
    "iso27001",
    "ISO/IEC 27001:2022, Annex A",
    (
        Control(
            "A.5.3",
            "Segregation of duties",
            ("duties", "rule-changes"),
            "Who held which duties, and which changes a second person agreed to.",
            "Duties outside the product.",
        ),
        Control(
            "A.5.15, A.5.18",
            "Access control and access rights",
            ("access", "access-changes", "access-reviews"),
            "Access as it stood at both ends of the period, every change between, and the reviews.",
            "The policy that says who ought to have it.",
        ),
        Control(
            "A.5.16, A.5.17",
            "Identity management and authentication information",
            ("sign-ins", "keys"),
            "The life of sign-ins, keys and secrets, without their values.",
            "How secrets are kept outside the vault.",
        ),
        Control(
            "A.5.28, A.8.15",
            "Collection of evidence, logging",
            ("calls", "evidence"),
            "Each call's end, and the log's own life under signed checkpoints.",
            "Logs of the systems behind.",
        ),
        Control(
            "A.6.5",
            "Responsibilities after termination",
            ("offboardings",),
            "Each end of access with its receipt.",
            "Confidentiality obligations that go on.",
        ),
        Control(
            "A.8.2",
            "Privileged access rights",
            ("approvals", "break-glass"),
            "Calls and access that a human had to allow, and emergency access with its review.",
            "Privileged accounts of host and database.",
        ),
        Control(
            "A.8.16",
            "Monitoring activities",
            ("denied", "incidents"),
            "Refusals, reactions and freezes.",
            "That an analyst followed them up.",
        ),
        Control(
            "A.8.32",
            "Change management",
            ("rule-changes",),
            "Each change of bundles and policies: author, second person, from and to.",
            "Changes of software and infrastructure.",
        ),
    ),
)

EU_AI_ACT = Pack(
    "eu-ai-act",
    "EU AI Act: record-keeping, logs and human oversight (Art. 12, 14, 19, 26)",
    (
        Control(
            "Art. 12",
            "Record-keeping",
            ("calls",),
            "Events of each agent's tool use over the period, recorded automatically, with time, tool and outcome.",
            "What happened inside the model: prompts and reasoning are recorded only where the client sends them.",
        ),
        Control(
            "Art. 14",
            "Human oversight",
            ("approvals", "incidents"),
            "Where a human decided, and where somebody stopped agents.",
            "Whether the human understood what she decided on.",
        ),
        Control(
            "Art. 19, 26(6)",
            "Automatically generated logs are kept",
            ("evidence",),
            "That the log was alive in the period, and under which checkpoint this report was made.",
            "How long it will be kept from now on: that is set in the retention of the installation.",
        ),
        Control(
            "Art. 26(1), 26(2)",
            "Use under instructions, oversight by competent people",
            ("access", "duties", "rule-changes", "access-reviews"),
            "Which tools agents had, who was responsible for them, and how that changed.",
            "The competence and training of these people.",
        ),
        Control(
            "Art. 26(5)",
            "Monitoring and suspension",
            ("denied", "offboardings", "access-changes"),
            "Refused calls, and agents that were suspended or ended.",
            "Whether the provider was informed.",
        ),
    ),
)

PACKS = {pack.key: pack for pack in (SOC2, HIPAA, GDPR, ISO27001, EU_AI_ACT)}
