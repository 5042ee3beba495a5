// Envelopes: from bytes to a record that the right people have signed, or `Refused`.
import { refuse, sha256hex, signedBy, unbase64 } from "./bytes.mjs";
import { parseJson } from "./json.mjs";
import { holds, keysetDigest, readPayload, thresholdOf } from "./keyset.mjs";
import { KINDS, demandsOf, shapedRecord } from "./records.mjs";

export const MAX_BYTES = 8192;
const MAX_SIGNATURES = 16;
const MAX_SHORT = 128;
const TYPE = /^application\/vnd\.golive\.([a-z]+)\.v1\+json$/;

/** The pre-authentication encoding: what is signed, and what the identity is the SHA-256 of. */
export function pae(type, payload) {
  const kind = Buffer.from(type);
  return Buffer.concat([Buffer.from(`DSSEv1 ${kind.length} ${type} ${payload.length} `), payload]);
}

function only(value, wanted) {
  const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
  if (!isObject || Object.keys(value).sort().join() !== wanted.join()) {
    refuse("envelope-1", `not exactly the members ${wanted.join(", ")}`);
  }
  for (const member of wanted) {
    if (member !== "signatures" && typeof value[member] !== "string") refuse("envelope-1", `${member} is no text`);
  }
}

/** The parts of an envelope. Nothing is verified yet: the payload is still bytes. */
export function decode(raw) {
  const value = parseJson(raw, "envelope-1", MAX_BYTES);
  only(value, ["payload", "payloadType", "signatures"]);
  const kind = TYPE.exec(value.payloadType)?.[1];
  if (kind === undefined || !Object.hasOwn(KINDS, kind)) refuse("envelope-2", "an unknown payload type");
  if (!Array.isArray(value.signatures)) refuse("envelope-1", "signatures is no list");
  for (const each of value.signatures) {
    only(each, ["keyid", "sig"]);
    // Lengths count code points, as everywhere in records.
    if (each.keyid === "" || [...each.keyid].length > MAX_SHORT || [...each.sig].length > MAX_SHORT) {
      refuse("envelope-1", "a key id or a signature that is too long");
    }
  }
  const payload = unbase64(value.payload, "envelope-3");
  const signatures = value.signatures.map(({ keyid, sig }) => ({ keyid, sig: unbase64(sig, "envelope-3") }));
  if (signatures.length < 1 || signatures.length > MAX_SIGNATURES) refuse("envelope-4", "no signature, or too many");
  if (new Set(signatures.map((each) => each.keyid)).size !== signatures.length) {
    refuse("envelope-4", "one key id twice");
  }
  const message = pae(value.payloadType, payload);
  return { kind, payload, signatures, message, identity: sha256hex(message) };
}

/** The keys of the keyset that have signed; a bad signature of one of them refuses everything. */
function validKeys(envelope, keyset) {
  const found = [];
  for (const { keyid, sig } of envelope.signatures) {
    const key = keyset.keys.get(keyid);
    if (key === undefined) continue;
    if (!signedBy(key.public, envelope.message, sig)) refuse("envelope-5", `a bad signature by ${key.principal}`);
    found.push(key);
  }
  return found;
}

/** Rules 5, 6 and 11: who has signed in the role, and that they are enough; `signers` with a key that was good. */
function requireSigners(envelope, record, keyset, needed) {
  const { roles, expires } = demandsOf(envelope.kind, record);
  const wanted = typeof roles === "function" ? roles(record) : roles;
  const inRole = ({ principal }) => wanted === null || wanted.some((role) => holds(keyset.principals.get(principal), role));
  const inTime = ({ until }) => until === null || record.issued_at_ms < until;
  const isGood = (key) => !expires || (inTime(key) && inTime(keyset));
  const signed = validKeys(envelope, keyset).filter(inRole);
  const names = namesOf(signed, needed, "envelope-6");
  if (expires && keyset.until !== null && record.issued_at_ms >= keyset.until) {
    refuse("envelope-11", `keyset ${keyset.version} had expired`);
  }
  const good = signed.filter(isGood);
  return { signers: namesOf(good, needed, "envelope-11"), all: names };
}

/** The principals of some keys, when there are so many of both. */
function namesOf(keys, needed, rule) {
  // Key ids are hashes of keys and unique in an envelope, so each of `keys` is another raw key.
  const names = new Set(keys.map((key) => key.principal));
  if (Math.min(names.size, keys.length) < needed) refuse(rule, `${names.size} of ${needed} signers`);
  return names;
}

/** Rule 10: whose receipt a worker's is. */
function requireWorker(record, keyset) {
  const own = keyset.principals.has(record.worker);
  const allowed = own ? record.by === record.worker : keyset.principals.get(record.by).shared;
  if (!allowed) refuse("envelope-10", `${record.by} does not answer for ${record.worker}`);
}

/** What an envelope claims to say. Nobody's signature is checked: never for permission. */
export function claimed(raw) {
  const envelope = decode(raw);
  return { ...envelope, record: shapedRecord(envelope.kind, parseJson(envelope.payload, "envelope-1", MAX_BYTES)) };
}

/**
 * The verified record. `trust` is `{keyset, namespace, environment}`; `kind` the kind that is expected here, or
 * null where any may stand. Returns `{kind, record, identity, signers}`.
 */
export function verify(raw, trust, kind = null) {
  const envelope = decode(raw);
  if (kind !== null && envelope.kind !== kind) refuse("envelope-2", `a ${envelope.kind} where a ${kind} is expected`);
  const { keyset } = trust;
  // Signatures come first: the payload is parsed only from bytes that somebody known has signed.
  if (validKeys(envelope, keyset).length === 0) refuse("envelope-6", "nobody known has signed it");
  const record = shapedRecord(envelope.kind, parseJson(envelope.payload, "envelope-1", MAX_BYTES));
  const { threshold, current } = demandsOf(envelope.kind, record);
  const needed = threshold ? thresholdOf(keyset, threshold, envelope.kind === "grant" ? record.kind : null) : 1;
  const { signers, all } = requireSigners(envelope, record, keyset, needed);
  if (!all.has(record.by)) refuse("envelope-7", `${record.by} has not signed`);
  if (!signers.has(record.by)) refuse("envelope-11", `the key of ${record.by} had expired`);
  for (const field of ["namespace", "environment"]) {
    if (record[field] !== trust[field]) refuse("envelope-8", `another ${field}`);
  }
  if (record.fleet !== keyset.fleet) refuse("envelope-8", "another fleet");
  if (current && record.keyset_version > keyset.version) {
    refuse("envelope-9", `signed under keyset ${record.keyset_version}, and this is ${keyset.version}`);
  }
  if (envelope.kind === "receipt" && record.worker !== null) requireWorker(record, keyset);
  return { kind: envelope.kind, record, identity: envelope.identity, signers };
}

const hasRoots = (keyset) => [...keyset.principals.values()].some((each) => holds(each, "root"));

/**
 * The next keyset, when the roots of both have signed the step. `current` is `{keyset, payload}`, `step`
 * `{record, payload}`, both in bytes; `place` is `{namespace, environment}`.
 */
export function nextKeyset(current, step, place) {
  const { record } = verify(step.record, { ...place, keyset: current.keyset }, "keyset");
  const next = readPayload(step.payload);
  if (next.version !== current.keyset.version + 1) {
    refuse("step-number", `keyset ${next.version} does not follow ${current.keyset.version}`);
  }
  if (next.fleet !== current.keyset.fleet) refuse("step-fleet", "the keyset of another fleet");
  if (!hasRoots(next)) refuse("step-roots", "the new keyset has no roots");
  if (record.number !== next.version || record.keyset_version !== current.keyset.version) {
    refuse("step-number", `the record is about keyset ${record.number} after ${record.keyset_version}`);
  }
  if (record.digest !== keysetDigest(step.payload)) refuse("step-digest", "signed for another new keyset");
  if (record.before !== keysetDigest(current.payload)) refuse("step-digest", "signed for another keyset before it");
  requireAppointed(step.record, record, next);
  return { keyset: next, payload: step.payload };
}

/** That enough roots of the new keyset have signed the record of a step, too. */
export function requireAppointed(raw, record, next) {
  requireSigners(decode(raw), record, next, thresholdOf(next, "root"));
}
