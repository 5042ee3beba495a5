"""What `--json` prints, one type per result; `docs/reference/json.md` is compared with these."""

from __future__ import annotations

import msgspec


class InPlace(msgspec.Struct):
    """What names the switch that a command was about."""

    environment: str
    namespace: str


class KeyFile(msgspec.Struct):
    """A private key that was made, and whose it is."""

    principal: str
    roles: list[str]
    file: str
    keyid: str
    public: str


class InitResult(InPlace):
    """`golive init`."""

    config: str
    keyset: str
    url: str
    keys: list[KeyFile]


class DevResult(InPlace):
    """`golive dev`, once everything is up; `url` is that of its server.

    Attributes:
        new: The setup was made now; else it goes on with the one that was there.
        state: As in `FleetStatus`, when it was up; so is `headline`.
    """

    config: str
    url: str
    heartbeat: str
    new: bool
    state: str
    headline: str


class KeysNewResult(msgspec.Struct):
    """`golive keys new`; `keyset` is the file that the principal was added to."""

    key: KeyFile
    keyset: str | None
    lines: list[str]


class PublicKey(msgspec.Struct):
    """A key of a principal."""

    keyid: str
    public: str


class Principal(msgspec.Struct):
    """A principal of the keyset."""

    name: str
    roles: list[str]
    keys: list[PublicKey]


class PrivateKey(msgspec.Struct):
    """A key file that the configuration names; `problem` says why it cannot be used."""

    setting: str
    file: str
    keyid: str | None
    principal: str | None
    problem: str | None


class KeysListResult(msgspec.Struct):
    """`golive keys list`."""

    keyset: str
    version: int
    fleet: str
    thresholds: dict[str, int]
    principals: list[Principal]
    private: list[PrivateKey]


class ShownKey(msgspec.Struct):
    """One more key that an agent or a token holds; `label` is its own comment or label."""

    label: str
    keyid: str
    public: str
    principal: str | None
    roles: list[str]


class KeysShowResult(msgspec.Struct):
    """`golive keys show`; `principal` is null when no keyset was found or it lacks the key."""

    file: str
    keyid: str
    public: str
    principal: str | None
    roles: list[str]
    more: list[ShownKey] = []


class KeysDraftResult(msgspec.Struct):
    """`golive keys draft` and `golive keys sign`: a draft as it is now."""

    file: str
    before: int
    number: int
    changes: list[str]
    signed: list[str]
    able: list[str]
    complete: bool


class KeysTakeResult(msgspec.Struct):
    """`golive keys take`."""

    keyset: str
    before: int
    number: int
    changes: list[str]


class KeysPublishResult(InPlace):
    """`golive keys publish`; `ends` is the term that it ends, `again` that it stood there before."""

    number: int
    before: int
    changes: list[str]
    effects: list[str]
    ends: int | None
    again: bool
    unkept: str


class KeyHolder(msgspec.Struct):
    """One key in `golive keys status`; `first`: perhaps it was so before the oldest keyset known."""

    name: str
    roles: list[str]
    keyid: str
    shared: bool
    authority: str | None
    since: int
    first: bool
    last_used_ms: int | None
    last_use: str
    expires: str | None
    days_left: int | None


class CardRow(msgspec.Struct):
    """A card that was issued. `state`: live, played, used up, expired or void."""

    identity: str
    epoch: int
    until_ms: int
    by: str
    holder: str
    issued_at_ms: int
    state: str
    played_at_ms: int | None


class KeysStatusResult(InPlace):
    """`golive keys status`; `looked` entries of the ledger, which are all of them if `whole`."""

    version: int
    as_of_ms: int
    signed: bool
    expires: str | None
    days_left: int | None
    published_ms: int | None
    thresholds: dict[str, int]
    looked: int
    whole: bool
    holders: list[KeyHolder]
    untaken: str
    review: list[str]
    cards: list[CardRow]


class HeartbeatLine(InPlace):
    """One line of `golive heartbeat --json`."""

    at_ms: int
    heartbeat: str
    text: str


class RevokedHeartbeat(msgspec.Struct):
    """A heartbeat's row of `golive revoke`; `latched_ms` counts from the call."""

    name: str
    latched_ms: float | None
    durable: str | None
    attested_dead: bool


class RevokedWorker(msgspec.Struct):
    """A worker's row of `golive revoke`; `off_by_ms` is Unix ms, for those that did not answer."""

    id: str
    instance: str
    latched_ms: float | None
    in_flight: int | None
    drained_ms: float | None
    left: int | None
    durable: str | None
    off_by_ms: int | None
    attested_dead: bool
    signed_by: str | None
    goodbye_ms: float | None


class RevokeResult(InPlace):
    """`golive revoke`. `result`: COMPLETE, STOPPED or NOT CONFIRMED; `by`: receipts or time."""

    result: str
    by: str | None
    epoch: int
    term: int
    in_redis_ms: float | None
    ledger: str
    heartbeats: list[RevokedHeartbeat]
    workers: list[RevokedWorker]
    drain_unknown: list[str]


class StopCardResult(InPlace):
    """`golive stop-card`; `files` hold it."""

    identity: str
    epoch: int
    until_ms: int
    by: str
    holder: str
    files: list[str]


class StopCardListResult(InPlace):
    """`golive stop-card list`, newest first."""

    cards: list[CardRow]


class StopCardCheckResult(InPlace):
    """`golive stop-card check`; `ends`: it ends `term`, the one in force, for good."""

    identity: str
    epoch: int
    until_ms: int
    by: str
    state: str
    term: int | None
    ends: bool
    why: str


class FindingResult(msgspec.Struct):
    """One check of a preflight."""

    check: str
    outcome: str
    explain: str
    facts: dict[str, str]
    took_ms: int
    value: str
    expected: str
    warning: bool


class PreflightResult(InPlace):
    """`golive preflight`."""

    passed: bool
    findings: list[FindingResult]


class Armed(msgspec.Struct):
    """A worker after an activation; `reason` says why it is not armed."""

    id: str
    instance: str
    armed: bool
    reason: str


class ActivateResult(InPlace):
    """`golive activate`: in force; `armed` is true when every worker alive is.

    `heartbeats` may beat for this term; those left out are in the keyset or registered, not both.
    """

    term: int
    epoch: int
    profile: str
    by: list[str]
    not_after_ms: int
    armed: bool
    heartbeats: list[str]
    heartbeats_left_out: list[str]
    workers: list[Armed]
    findings: list[FindingResult]


class Applied(msgspec.Struct):
    """A worker and a restriction; `applied_ms` is null when no answer came within 2 s."""

    id: str
    instance: str
    applied_ms: float | None
    matches: str
    values: dict[str, list[str]]


class RestrictResult(InPlace):
    """`golive halt`, `golive reduce` and `golive demote`; `profile` is of the last."""

    kind: str
    epoch: int
    term: int
    labels: dict[str, str]
    profile: str | None
    ledger: str
    workers: list[Applied]
    matching: int | None
    near: dict[str, list[str]]
    dry_run: bool


class ForgottenWorker(msgspec.Struct):
    """A process that was meant; `back`: it was heard meanwhile, and is not attested dead."""

    id: str
    instance: str
    back: bool


class ForgetResult(InPlace):
    """`golive workers forget`; `by` is whose word it is."""

    by: str
    workers: list[ForgottenWorker]


class Lifted(msgspec.Struct):
    """A restriction that a loosening lifts."""

    epoch: int
    kind: str
    labels: dict[str, str]
    by: str
    reason: str


class LoosenResult(InPlace):
    """`golive resume`, `golive restore` and `golive extend`."""

    kind: str
    epoch: int
    term: int
    by: list[str]
    keeps: int
    heartbeats: list[str]
    not_after_ms: int
    lifts: list[Lifted]
    dry_run: bool


class PromoteResult(InPlace):
    """`golive promote`; with `--plan`, or when a criterion does not pass, `epoch` is null."""

    promoted: bool
    before: str
    after: str
    passed: bool
    findings: list[FindingResult]
    epoch: int | None
    by: list[str]


class AuditEntry(msgspec.Struct):
    """An entry of the ledger; `refused` says why it is not good, and then it says nothing else.

    `verified` is false where the keyset is not at hand under which it was signed.
    """

    index: int
    id: str
    at_ms: int
    kind: str
    what: str
    by: list[str]
    why: str
    identity: str
    verified: bool
    refused: str


class AuditListResult(InPlace):
    """`golive audit list`."""

    entries: list[AuditEntry]


class AuditTailLine(InPlace):
    """A line of `golive audit tail --json`."""

    entry: AuditEntry


class AuditSignature(msgspec.Struct):
    """A signature; `principal` is null for a key that this host's keyset does not know."""

    keyid: str
    principal: str | None


class AuditShowResult(InPlace):
    """`golive audit show`; `record` is what was signed, `head` the one after the entry."""

    entry: AuditEntry
    record: dict[str, object] | None
    signatures: list[AuditSignature]
    head: str


class AuditBroken(msgspec.Struct):
    """The first entry that is not good: which rule of the ledger it breaks, and how."""

    index: int
    rule: str
    entry: str
    why: str
    hint: str


class AuditCheckpoint(msgspec.Struct):
    """A checkpoint of the ledger: how many entries it counts and which heartbeats have signed it.

    `cosigned` names the witnesses that have, of `witnesses` that the policy knows; `enough` when they
    meet its quorum. `time_s` is when the last of them did, Unix time in seconds; null when none did.
    """

    size: int
    by: str
    cosigned: list[str]
    witnesses: int
    enough: bool
    time_s: int | None


class AuditVerifyResult(InPlace):
    """`golive audit verify`. `result`: VERIFIED, CONSISTENT or NOT VERIFIED.

    `entries` is how many the ledger has up to where it was judged, `judged` how many of them were now,
    `good` how many from the beginning are known to be good. `anchored` is up to how many `remembered_by`
    remembers them; null when nobody does. `forgotten` is why this host will not remember this verdict;
    "" when it will, and for a file. `generation` and `begins` say with which entry the judged ledger
    begins: 1 and 0 for the first of all. `checkpoint` is the newest at hand that the ledger agrees with,
    and `witnessed` up to how many entries enough witnesses have cosigned one; null for none. `strange`
    is why what stands in Redis as a checkpoint is none.
    """

    result: str
    entries: int
    judged: int
    good: int
    anchored: int | None
    remembered_by: str
    keysets: list[int]
    terms: int
    late: int
    head: str
    broken: AuditBroken | None
    forgotten: str
    generation: int
    begins: int
    checkpoint: AuditCheckpoint | None
    witnessed: int | None
    strange: str


class AuditExportResult(InPlace):
    """`golive audit export`; `head` is the one after the last entry.

    `checkpoint` is the file with the ledger's checkpoint; null where none stood in Redis.
    """

    file: str
    format: str
    entries: int
    head: str
    receipts: int
    checkpoint: str | None


class AuditArchiveResult(InPlace):
    """`golive audit archive`.

    `entries` is how many the archive has, `new` how many of them came now, `waiting` how many are too
    young. `root` is that of the tree over all of them, in hex, read back from the files. `checkpoint` is
    of how many entries the one was that was held against it, null when there is none; `cosigned` are the
    witnesses that have signed it. `receipts` is of how many directives receipts were kept.
    """

    archive: str
    generation: int
    entries: int
    new: int
    waiting: int
    root: str
    checkpoint: int | None
    cosigned: list[str]
    receipts: int


class AuditTrimResult(InPlace):
    """`golive audit trim`.

    `first` is the index with which the ledger in Redis begins now, `removed` how many entries were taken
    out, `left` how many Redis has. `note` is the identity of the note that says so, "" where nothing was
    old enough.
    """

    archive: str
    first: int
    removed: int
    left: int
    note: str


class AuditReportResult(InPlace):
    """`golive audit report`; `result`: the verdict; `page` and `figures`: paths of the new files."""

    result: str
    broken: AuditBroken | None
    from_ms: int
    to_ms: int
    counted: int
    page: str
    figures: str


class AuditRestoreResult(InPlace):
    """`golive audit restore`.

    `first` is the index of the first entry that was put back, `restored` how many were, `entries` how
    many the ledger has now.
    """

    archive: str
    first: int
    restored: int
    entries: int


class AuditGenerationResult(InPlace):
    """`golive audit generation`.

    `note` is the identity of the entry that begins it. `before` is how many entries the one before has
    in the archive, `common` how many of them Redis had kept.
    """

    generation: int
    note: str
    signers: list[str]
    before: int
    common: int


class AuditPolicyResult(InPlace):
    """`golive audit policy`: the file's text, the log's origin, and how many witnesses it takes."""

    origin: str
    quorum: int
    policy: str


class AuditProveResult(InPlace):
    """`golive audit prove`: an entry that is in the log `origin`, as `file` proves.

    `signed_by` is who has signed the entry itself; nobody where no keyset was at hand to check it.
    """

    file: str
    origin: str
    index: int
    what: str
    signed_by: list[str]
    checkpoint: AuditCheckpoint


class Proposed(msgspec.Struct):
    """A grant that waits for signatures; `until_ms` is until when it waits."""

    id: str
    identity: str
    kind: str
    what: str
    signed: list[str]
    needed: int
    until_ms: int
    epoch: int
    reason: str
    ticket: str


class ProposalsResult(InPlace):
    """`golive proposals`."""

    proposals: list[Proposed]


class ApproveResult(InPlace):
    """`golive propose`, `approve`, `reject` and `withdraw`.

    `by` and `epoch` are null while it is not in force. An activation by its last signature prints
    what `golive activate` prints.
    """

    proposal: Proposed
    in_force: bool
    epoch: int | None
    by: list[str] | None


class AclResult(InPlace):
    """`golive acl`: `line` for an ACL file, `command` for redis-cli."""

    role: str
    user: str
    line: str
    command: str
    server: str
    cluster: bool


class AclTrial(msgspec.Struct):
    """A command that was tried; `why` is what Redis said where `found` is not `expected`."""

    command: str
    expected: str
    found: str
    why: str


class AclUserChecked(msgspec.Struct):
    """A user of `golive acl check`; `way` says how it was tried."""

    role: str
    user: str
    way: str
    differences: int
    trials: list[AclTrial]


class AclCheckResult(InPlace):
    """`golive acl check`."""

    passed: bool
    users: list[AclUserChecked]


class DiagnosisResult(msgspec.Struct):
    """A finding of `golive doctor`; `why` and `mend` are empty where nothing is wrong."""

    name: str
    level: str
    seen: str
    why: str
    mend: str


class DoctorResult(InPlace):
    """`golive doctor`: the checks, and what was found about the server and this host."""

    passed: bool
    findings: list[FindingResult]
    diagnoses: list[DiagnosisResult]


class WitnessInitResult(msgspec.Struct):
    """`golive audit witness init`; `vkey` is what others are given."""

    folder: str
    name: str
    vkey: str


class WitnessAddLogResult(msgspec.Struct):
    """`golive audit witness add-log`; `added`: it was not trusted before."""

    origin: str
    vkey: str
    added: bool


class WitnessLine(msgspec.Struct):
    """One line of `golive audit witness serve --json`."""

    at_ms: int
    witness: str
    text: str


class WitnessLog(msgspec.Struct):
    """A log that a witness knows; `size` to `cosigned_at_ms` are null until it is cosigned."""

    origin: str
    vkeys: list[str]
    size: int | None
    root: str | None
    cosigned_at_ms: int | None
    path: str
    forks: int
    unproven: int


class WitnessStatusResult(msgspec.Struct):
    """`golive audit witness status`."""

    folder: str
    name: str
    vkey: str
    logs: list[WitnessLog]


class WitnessEvidence(msgspec.Struct):
    """A line of the file that `golive audit witness status --evidence` writes."""

    origin: str
    kind: str
    received_at_ms: int
    why: str
    refused: str
    known: str | None
    request: str


class StoreInstallResult(InPlace):
    """`golive store install`; `installed` is false where it was there already."""

    library: str
    installed: bool
    removed: list[str]


class StoreStatusResult(InPlace):
    """`golive store status`; `state`: installed, missing or differs."""

    scripts: str
    library: str
    state: str
    others: list[str]
