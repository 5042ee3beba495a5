// The ledger: a chain of heads over envelopes, and the rules of records.md from its first entry to its last.
import { Refused, looseBase64, refuse, sha256hex } from "./bytes.mjs";
import { claimed, decode, requireAppointed, verify } from "./envelope.mjs";
import { parseJson } from "./json.mjs";
import { keysetDigest, thresholdOf } from "./keyset.mjs";
import { DIRECTIVES, KINDS } from "./records.mjs";

export const GENESIS = "0".repeat(64);
const LATE_MS = 1000;
const CLOCKS_MS = 600_000;
const LOOKED_BACK = 256; // directives, reports, answers and executions that an entry may rest on
const MAX_LINE = 64 * 1024;
const LAST_MS = 253_402_300_799_999n; // of the year 9999

/** The head after an entry. */
export const headAfter = (head, raw) => sha256hex(`golive-ledger-v1\n${head}\n${sha256hex(raw)}`);

const broken = (rule, index, why) => {
  throw new Refused(rule, why, index);
};

function place(id) {
  const parts = /^([0-9]{1,20})-([0-9]{1,20})$/.exec(id);
  return parts === null ? null : [BigInt(parts[1]), BigInt(parts[2])];
}
const after = ([ms, n], [ms2, n2]) => ms > ms2 || (ms === ms2 && n > n2);

/** Add to a list or a map of what came last, which forgets the oldest. */
function keep(kept, key, value) {
  if (!kept.has(key) && kept.size >= LOOKED_BACK) kept.delete(kept.keys().next().value);
  kept.set(key, value);
}

/** Judges entries `{id, r, h, others}` one by one: `r` in bytes, `others` the names of further fields. */
export class Judge {
  /** `keysets` is a map by version, `where` `{namespace, environment}`, `kept` a head that somebody remembers. */
  constructor(keysets, where, kept = null) {
    Object.assign(this, { keysets, where, kept });
    this.head = GENESIS;
    this.index = 0;
    this.last = null; // place in the stream of the entry before
    this.seen = new Set();
    this.directives = new Map();
    this.missing = new Map(); // identity of a directive that is not here yet, to the index that names it
    this.reports = new Map(); // identity to policy, of those that passed
    this.answers = new Map(); // identity to {proposal, by}, of those that agree
    this.executions = new Map(); // directive to {by, answers}
    this.newest = 0; // highest epoch of a directive
    this.revoked = 0; // highest epoch of a revocation
    this.term = 0; // that was activated last
    this.keysetVersion = 0; // newest that a grant has named, or to which a step has led
    this.step = 0; // number to which the last step has led
    this.stop = null; // the revocation with the highest epoch: {epoch, signers}
    this.unjudged = null; // first entry whose keyset is not at hand
    this.remembered = kept === GENESIS ? 0 : null; // how many entries the kept head covers
  }

  take(entry) {
    this.requireChain(entry);
    const found = this.opened(entry.r);
    if (this.seen.has(found.identity)) broken("V5", this.index, "was there before");
    this.seen.add(found.identity);
    if (!found.signers || found.lacks) this.unjudged ??= this.index;
    if (found.record.topic === "generation") broken("V2", this.index, "begins the ledger anew, and stands within one");
    this.requireSuccession(found);
    if (DIRECTIVES.includes(found.kind)) this.directive(entry, found);
    else this.aheadOfAGrant(found);
    this.index += 1;
    if (this.head === this.kept) this.remembered = this.index;
  }

  requireChain({ id, r, h, others = [] }) {
    if (others.length > 0 || r.length === 0 || h === "") broken("V1", this.index, "has other fields than r and h");
    const head = headAfter(this.head, r);
    if (head !== h) broken("V2", this.index, "does not follow from the entry before it");
    const here = place(id);
    if (here === null || (this.last !== null && !after(here, this.last))) {
      broken("V2", this.index, "has no higher id than the entry before it");
    }
    [this.head, this.last] = [head, here];
  }

  /** V3 and V4, under the keyset whose version it names. Without that it is only read, and has no `signers`. */
  opened(raw) {
    try {
      const claim = claimed(raw);
      if (!KINDS[claim.kind].ledger) refuse("V3", `a ${claim.kind} is no entry of a ledger`);
      const keyset = this.keysets.get(claim.record.keyset_version);
      if (keyset === undefined) return claim;
      const found = verify(raw, { ...this.where, keyset });
      return found.kind === "keyset" ? { ...found, lacks: this.lacks(raw, found.record, keyset) } : found;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return broken("V3", this.index, error.message);
    }
  }

  /** Whether the keyset to which a step leads is not at hand; one that leads elsewhere is refused. */
  lacks(raw, record, keyset) {
    if (record.number !== keyset.version + 1 || record.before !== keysetDigest(keyset.payload)) {
      refuse("V3", `keyset ${record.number} was not made to follow keyset ${keyset.version}`);
    }
    const next = this.keysets.get(record.number);
    if (next === undefined) return true;
    if (record.digest !== keysetDigest(next.payload)) refuse("V3", `appoints another keyset ${record.number}`);
    requireAppointed(raw, record, next);
    return false;
  }

  /** V3: no step from keyset to keyset is skipped, and none is taken back. */
  requireSuccession({ kind, record }) {
    if (kind === "keyset") {
      const last = this.step || this.keysetVersion;
      if (record.number <= last) broken("V3", this.index, `leads to keyset ${record.number}, and ${last} was in use`);
      if (this.step && record.number !== this.step + 1) broken("V3", this.index, "skips a step to the next keyset");
      this.step = record.number;
      this.keysetVersion = Math.max(this.keysetVersion, record.number);
    } else if (this.step && record.keyset_version > this.step) {
      broken("V3", this.index, `names keyset ${record.keyset_version}, to which no step has led`);
    }
  }

  aheadOfAGrant({ kind, record, identity }) {
    if (kind === "report" && record.findings.every((finding) => finding.outcome === "pass")) {
      keep(this.reports, identity, record.policy);
    }
    if (kind === "answer" && ["propose", "approve"].includes(record.answer)) {
      keep(this.answers, identity, record);
    }
    if (kind === "execution") keep(this.executions, record.directive, record);
  }

  directive(entry, found) {
    const { kind, record, identity } = found;
    this.missing.delete(identity);
    const prev = record.prev ?? null;
    if (prev !== null && !this.directives.has(prev) && !this.missing.has(prev)) this.missing.set(prev, this.index);
    keep(this.directives, identity, kind);
    const waitedMs = Number(place(entry.id)[0]) - record.issued_at_ms;
    if (kind === "grant") this.grant(entry, found, waitedMs);
    if (kind === "restriction" && record.epoch <= this.newest && waitedMs < LATE_MS) {
      broken("V7", this.index, `stands after directive ${this.newest}, and was entered when it was issued`);
    }
    if (kind === "revocation") {
      this.revoked = Math.max(this.revoked, record.epoch);
      const isLast = this.stop === null || record.epoch > this.stop.epoch;
      if (isLast) this.stop = { epoch: record.epoch, signers: found.signers ?? new Set() };
    }
    this.newest = Math.max(this.newest, record.epoch);
  }

  grant(entry, found, waitedMs) {
    const { record } = found;
    const { index } = this;
    if (record.epoch <= this.revoked) broken("V8", index, `grants at or under revocation ${this.revoked}`);
    if (record.epoch <= this.newest) broken("V7", index, `grants epoch ${record.epoch} after ${this.newest}`);
    if (Math.abs(waitedMs) > CLOCKS_MS) broken("V7", index, "was entered more than 10 minutes from its issue");
    if (record.kind === "activate") this.term = record.term;
    else if (record.term !== this.term) broken("V8", index, `changes term ${record.term}, not the last one`);
    if (record.kind === "activate" || record.kind === "promote") {
      const policy = this.reports.get(record.report);
      if (policy === undefined) broken("V9", index, "rests on no report that passed before it");
      if (policy !== record.policy) broken("V9", index, "rests on a report of another policy");
    }
    if (found.signers) this.requireConsent(found);
    if (found.signers && record.keyset_version < this.keysetVersion) this.requireStillGood(entry);
    this.keysetVersion = Math.max(this.keysetVersion, record.keyset_version);
    if (found.signers && record.kind === "activate") this.requireRisk(found);
  }

  /** V11, as far as it needs no policy: after a stop by risk, risk signs the next start. */
  requireRisk({ record, signers }) {
    const { principals } = this.keysets.get(record.keyset_version);
    const hasRisk = (name) => principals.get(name)?.authority === "risk";
    const stopped = [...(this.stop?.signers ?? [])].some(hasRisk);
    if (stopped && ![...signers].some(hasRisk)) broken("V11", this.index, "has no signature of risk after its stop");
  }

  /** V10. */
  requireConsent({ record, identity, signers }) {
    const needed = thresholdOf(this.keysets.get(record.keyset_version), "approver", record.kind);
    if (needed === 1 || this.executions.size === 0) return;
    const execution = this.executions.get(identity);
    if (!signers.has(execution?.by)) broken("V10", this.index, "has no execution by one who signed it");
    const said = new Set();
    for (const id of execution.answers) {
      const answer = this.answers.get(id);
      if (answer?.proposal === identity && signers.has(answer.by)) said.add(answer.by);
    }
    if (said.size < needed) broken("V10", this.index, `has ${said.size} of ${needed} answers before it`);
  }

  /** V3 for a grant that names an older keyset than a grant before it. */
  requireStillGood(entry) {
    const keyset = this.keysets.get(this.keysetVersion);
    if (keyset === undefined) return;
    try {
      verify(entry.r, { ...this.where, keyset }, "grant");
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      broken("V3", this.index, `is not good under keyset ${this.keysetVersion}: ${error.message}`);
    }
  }

  /** After the last entry: what is missing. */
  finish() {
    for (const [, index] of this.missing) broken("V6", index, "names a directive before it that is not here");
    if (this.kept !== null && this.remembered === null) {
      broken("V14", this.index, "is missing: the head that was kept is not in this ledger");
    }
    if (this.unjudged !== null) broken("V3", this.unjudged, "was signed under a keyset that is not at hand");
  }
}

const LINE = ["at", "by", "h", "id", "identity", "index", "kind", "r", "raw", "record"];

/** What a line of an export shows of an envelope in clear. */
function shown(raw) {
  try {
    const { kind, payload, identity } = decode(raw);
    const record = parseJson(payload, "V1", MAX_LINE);
    const isObject = record !== null && typeof record === "object" && !Array.isArray(record);
    if (isObject && !("by" in record)) refuse("V1", "nobody's");
    const by = isObject && typeof record.by === "string" ? record.by : "";
    return { kind, by, identity, record };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { kind: "", by: "", identity: "", record: null };
  }
}

function same(one, other) {
  if (one === null || typeof one !== "object") return one === other;
  if (other === null || typeof other !== "object" || Array.isArray(one) !== Array.isArray(other)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => name in other && same(one[name], other[name]));
}

/** The time in an id, in UTC; one after the year 9999, which anybody may write, in ms. */
function utc(id) {
  const ms = BigInt(id.split("-")[0]);
  if (ms > LAST_MS) return `${ms} ms`;
  return new Date(Number(ms)).toISOString().replace("T", " ").slice(0, 23);
}

/** The entry of a line of `golive audit export`, whose index has to be `index` unless that is null. */
export function readLine(bytes, index = null) {
  const line = parseJson(bytes, "V1", MAX_LINE);
  if (line === null || typeof line !== "object" || Object.keys(line).sort().join() !== LINE.join()) {
    refuse("V1", "no line of an export");
  }
  const isText = (value) => typeof value === "string";
  if (![line.id, line.at, line.kind, line.by, line.identity, line.h].every(isText)) refuse("V1", "no line of an export");
  if (!Number.isSafeInteger(line.index) || line.index < 0) refuse("V1", "a line without its index");
  if (index !== null && line.index !== index) refuse("V1", `entry ${line.index} where ${index} was expected`);
  if (isText(line.r) === isText(line.raw) || ![line.r, line.raw].includes(null)) refuse("V1", "not one of r and raw");
  if (isText(line.r) && /[^\x00-\x7f]/.test(line.r)) refuse("V1", "an envelope that is not ASCII");
  const r = isText(line.r) ? Buffer.from(line.r, "ascii") : looseBase64(line.raw, "V1");
  if (place(line.id) === null) refuse("V1", "no id of a stream");
  const clear = { at: line.at, kind: line.kind, by: line.by, identity: line.identity, record: line.record };
  if (!same(clear, { at: utc(line.id), ...shown(r) })) refuse("V1", "what it shows in clear is not what was signed");
  return { id: line.id, r, h: line.h, index: line.index, record: line.record };
}

/** The entries of an export, one after the other. A last line without its end is a line. */
export function* entriesOf(bytes) {
  let next = null;
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(10, at);
    const until = end < 0 ? bytes.length : end;
    const entry = readLine(bytes.subarray(at, until), next);
    next = entry.index + 1;
    at = until + 1;
    yield entry;
  }
}

/**
 * The verdict on a whole ledger: `{verdict, entries, head, remembered}`, and with `NOT VERIFIED` also `index`,
 * `rule` and `why` of the first entry that breaks a rule.
 */
export function judge(entries, keysets, where, kept = null) {
  const judged = new Judge(keysets, where, kept);
  const facts = () => ({ entries: judged.index, head: judged.head, remembered: judged.remembered });
  try {
    for (const entry of entries) judged.take(entry);
    judged.finish();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const index = error.index ?? judged.index;
    return { verdict: "NOT VERIFIED", ...facts(), index, rule: error.rule, why: error.message };
  }
  return { verdict: kept === null ? "CONSISTENT" : "VERIFIED", ...facts() };
}
