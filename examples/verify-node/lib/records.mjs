// What each kind of record holds: the tables of records.md, in its order. A new kind is one entry of KINDS,
// a new topic of a note one line of TOPICS.
import { refuse } from "./bytes.mjs";
import { MAX_INT } from "./json.mjs";
import { GRANT_KINDS } from "./keyset.mjs";

export const SHAPE = "envelope-12";
const characters = (value) => [...value].length; // code points, not UTF-16 units

const integer = (least, most) => (v) => typeof v === "number" && v >= least && v <= most;
const pattern = (expression) => (v) => typeof v === "string" && expression.test(v);
const oneOf = (...words) => (v) => words.includes(v);
const text = (most, least = 0) => (v) => typeof v === "string" && characters(v) <= most && characters(v) >= least;
const orNull = (is) => (v) => v === null || is(v);
const isObject = (v) => v !== null && typeof v === "object" && !Array.isArray(v);
const listOf = (is, most, least = 0) => (v) =>
  Array.isArray(v) && v.length <= most && v.length >= least && v.every(is);
const objectOf = (isName, is, most = Infinity) => (v) =>
  isObject(v) && Object.keys(v).length <= most && Object.keys(v).every(isName) && Object.values(v).every(is);
const boolean = (v) => typeof v === "boolean";
const distinct = (values) => new Set(values).size === values.length;
const factName = text(64);

const count = integer(0, MAX_INT);
const ms = count;
const epoch = integer(1, MAX_INT);
const name = pattern(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);
const identity = pattern(/^[0-9a-f]{64}$/);
const words = text(500);
const decimal = pattern(/^(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,12})?$/);
const mode = oneOf("live", "reduce_only", "halted");
const profile = oneOf("micro", "small", "medium", "large");
const hex32 = pattern(/^[0-9a-f]{32}$/);
const label = oneOf("venue", "account", "desk", "strategy", "symbol", "worker", "client");

// A field that may be missing.
const optional = (is) => Object.assign((v) => is(v), { optional: true });

const COMMON = {
  namespace: pattern(/^(?:[a-z0-9_-]{1,32}|\{[a-z0-9_-]{1,32}\})$/),
  environment: name,
  fleet: hex32,
  keyset_version: epoch,
  issued_at_ms: ms,
  by: name,
};

const LIMITS = {
  currency: pattern(/^[A-Z0-9]{2,12}$/),
  max_order_notional: decimal,
  max_position_notional: decimal,
  max_daily_loss: decimal,
  max_orders_per_minute: integer(1, 1_000_000),
  extra: optional(objectOf(factName, text(128), 16)),
};

const FINDING = {
  check: name,
  outcome: oneOf("pass", "fail", "unknown"),
  explain: words,
  facts: optional(objectOf(factName, text(256), 32)),
  took_ms: optional(ms),
  value: optional(text(80)),
  expected: optional(text(80)),
  warning: optional(boolean),
};

const shaped = (fields) => (v) => isObject(v) && misfit(v, fields) === null;
const limits = shaped(LIMITS);

/** The first member that does not belong, is missing or is not as its table says; null when all is well. */
function misfit(value, fields) {
  for (const member of Object.keys(value)) if (!Object.hasOwn(fields, member)) return `an unknown ${member}`;
  for (const [member, is] of Object.entries(fields)) {
    if (!(member in value)) {
      if (!is.optional) return `no ${member}`;
    } else if (!is(value[member])) return `a ${member} that is not as its table says`;
  }
  return null;
}

/** Topics of notes, and the role that may write each; a note on another topic is refused. */
export const TOPICS = {
  "stop-confirmed": "revoker",
  "stop-repeated": "revoker",
  "heartbeat-dead": "revoker",
  "worker-dead": "revoker",
  card: "revoker",
  goodbye: "heartbeat",
  joined: "heartbeat",
  "out-of-band": "heartbeat",
  window: "heartbeat",
  trigger: "heartbeat",
  "early-warning": "heartbeat",
  "local-kill": "heartbeat",
  lapse: "heartbeat",
  heal: "heartbeat",
  skips: "heartbeat",
  security: "heartbeat",
  receipts: "heartbeat",
  repaired: "heartbeat",
  trimmed: "approver",
  generation: "approver",
};

// Of each kind: `fields` beside the common ones; `rules` between fields, each a sentence that must be true;
// `roles`, any of which may sign it (null: every role); `threshold`, the role whose threshold counts, else one
// is enough; `ledger`, whether it is an entry of the ledger; `current`, refused under a newer keyset than the
// reader's (rule 9); `expires`, what had expired does not count (rule 11); `also`, more of these for some records.
export const KINDS = {
  grant: {
    roles: ["approver"],
    threshold: "approver",
    ledger: true,
    current: true,
    expires: true,
    fields: {
      kind: oneOf(...GRANT_KINDS),
      epoch,
      term: epoch,
      mode,
      profile,
      limits,
      activated_at_ms: ms,
      not_before_ms: ms,
      not_after_ms: ms,
      heartbeats: listOf(name, 16, 1),
      max_ttl_ms: integer(1, 3_600_000),
      keeps: listOf(identity, 64),
      drops: listOf(identity, 64),
      drops_up_to: count,
      reason: words,
      ticket: words,
      report: orNull(identity),
      policy: identity,
      prev: orNull(identity),
    },
    rules: {
      "the window ends after it begins": (r) => r.not_after_ms > r.not_before_ms,
      "each heartbeat once": (r) => distinct(r.heartbeats),
      "its term is its epoch for `activate` and only there, and is before it otherwise": (r) =>
        r.kind === "activate" ? r.term === r.epoch : r.term < r.epoch,
      "a term is activated before it is changed": (r) => r.activated_at_ms <= r.issued_at_ms,
      "at most 64 restrictions": (r) => r.keeps.length + r.drops.length <= 64,
      "drops_up_to is below its epoch": (r) => r.drops_up_to < r.epoch,
    },
  },
  restriction: {
    roles: ["revoker"],
    ledger: true,
    fields: {
      kind: oneOf("halt", "reduce", "demote"),
      epoch,
      term: epoch,
      labels: objectOf(label, text(128, 1)),
      mode: orNull(mode),
      profile: orNull(profile),
      limits: orNull(limits),
      reason: words,
      ticket: words,
      prev: orNull(identity),
    },
    rules: {
      "its epoch is above its term": (r) => r.epoch > r.term,
      "its mode is that of its kind": (r) =>
        r.mode === { halt: "halted", reduce: "reduce_only", demote: null }[r.kind],
      "profile and limits for `demote` and only there": (r) =>
        (r.kind === "demote") === (r.profile !== null) && (r.kind === "demote") === (r.limits !== null),
      "no labels for `demote`": (r) => r.kind !== "demote" || Object.keys(r.labels).length === 0,
    },
  },
  revocation: {
    roles: ["revoker"],
    ledger: true,
    fields: { epoch, reason: words, ticket: words, blind: boolean, until_ms: optional(ms) },
    rules: {
      "a stop card is never blind": (r) => !("until_ms" in r) || !r.blind,
      "a stop card ends after it was issued": (r) => !("until_ms" in r) || r.until_ms > r.issued_at_ms,
    },
  },
  beat: {
    roles: ["heartbeat"],
    current: true,
    fields: { heartbeat: name, term: epoch, epoch, set: identity, n: count },
    rules: {
      "a beat is its heartbeat's own": (r) => r.heartbeat === r.by,
      "its epoch is not below its term": (r) => r.epoch >= r.term,
    },
  },
  receipt: {
    roles: (record) => [record.worker === null ? "heartbeat" : "worker"],
    fields: {
      worker: orNull(name),
      heartbeat: orNull(name),
      instance: hex32,
      directive: orNull(identity),
      epoch: orNull(epoch),
      term: orNull(epoch),
      stage: oneOf("latched", "applied", "drained", "left"),
      at_ms: ms,
      in_flight: count,
      left: orNull(count),
      durable: oneOf("yes", "none", "failed"),
      head: orNull(identity),
      beat_on: orNull(listOf(pattern(/^[0-9a-f]{40}$/), 8)),
    },
    rules: {
      "a worker's or a heartbeat's": (r) => (r.worker === null) !== (r.heartbeat === null),
      "a heartbeat's receipt is its own": (r) => r.heartbeat === null || r.heartbeat === r.by,
      "directive and epoch are null in a goodbye and only there": (r) =>
        (r.stage === "left") === (r.directive === null) && (r.stage === "left") === (r.epoch === null),
      "a goodbye is a worker's, with nothing in flight": (r) =>
        r.stage !== "left" || (r.worker !== null && r.in_flight === 0),
      "what is applied is of a term": (r) => r.stage !== "applied" || r.term !== null,
      "left is there when drained and only then": (r) => (r.stage === "drained") === (r.left !== null),
      "no beat_on for a worker": (r) => r.worker === null || r.beat_on === null,
    },
  },
  report: {
    roles: ["approver"],
    ledger: true,
    expires: true,
    fields: { policy: identity, findings: listOf(shaped(FINDING), 64, 1) },
    rules: {},
  },
  note: {
    roles: (record) => [topicRole(record.topic)],
    // It says that what hosts remember of the ledger counts no more, so no single person can.
    also: (record) => (record.topic === "generation" ? { threshold: "approver", current: true, expires: true } : {}),
    ledger: true,
    fields: { topic: pattern(/^[a-z][a-z-]{1,40}$/), text: words, facts: objectOf(factName, text(512), 32) },
    rules: {},
  },
  answer: {
    roles: ["approver"],
    ledger: true,
    current: true,
    expires: true,
    fields: {
      proposal: identity,
      answer: oneOf("propose", "approve", "reject", "withdraw"),
      approve_by_ms: ms,
      reason: words,
    },
    rules: {},
  },
  execution: {
    roles: ["approver"],
    ledger: true,
    current: true,
    expires: true,
    fields: { directive: identity, report: orNull(identity), answers: listOf(identity, 16) },
    rules: {},
  },
  refusal: {
    roles: null,
    ledger: true,
    fields: {
      attempt: oneOf(...GRANT_KINDS, "propose", "approve", "execute", "keyset"),
      why: pattern(/^[a-z][a-z-]{0,63}$/),
      check: orNull(name),
      report: orNull(identity),
      proposal: orNull(identity),
      text: words,
    },
    rules: {},
  },
  keyset: {
    roles: ["root"],
    threshold: "root",
    ledger: true,
    fields: { number: epoch, digest: identity, before: identity },
    rules: {},
  },
};

/** What is demanded of a record. */
export const demandsOf = (kind, record) => ({ ...KINDS[kind], ...KINDS[kind].also?.(record) });

/** Directives, in which epochs rise. */
export const DIRECTIVES = ["grant", "restriction", "revocation"];

function topicRole(topic) {
  return Object.hasOwn(TOPICS, topic) ? TOPICS[topic] : refuse("envelope-13", `nobody may write a note on ${topic}`);
}

/** The record itself, or `Refused` when a field is unknown, missing, or not as its table says. */
export function shapedRecord(kind, value) {
  if (!isObject(value)) refuse("envelope-1", "the payload is no object");
  const fields = { ...COMMON, ...KINDS[kind].fields };
  const wrong = misfit(value, fields);
  if (wrong !== null) {
    refuse(/^(?:an unknown|no) /.test(wrong) ? "envelope-1" : SHAPE, `the ${kind} has ${wrong}`);
  }
  for (const [rule, holds] of Object.entries(KINDS[kind].rules)) {
    if (!holds(value)) refuse(SHAPE, `the ${kind} breaks its rule: ${rule}`);
  }
  return value;
}
