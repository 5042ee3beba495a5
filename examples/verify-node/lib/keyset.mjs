// Keysets: who is trusted to sign what, from the payload that `golive keys draft` writes, and its succession.
import { looseBase64, publicKey, refuse, sha256hex, unsound } from "./bytes.mjs";
import { parseJson } from "./json.mjs";

export const ROLES = ["approver", "auditor", "heartbeat", "revoker", "root", "worker"];
export const GRANT_KINDS = ["activate", "resume", "restore", "promote", "extend"];
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const DAY = /^([0-9]{4})-([0-9]{2})-([0-9]{2})$/;
const DAY_MS = 86_400_000;
const SSH = "ssh-ed25519";
const MAX_LISTED = 8; // roles and keys of a principal, and the largest threshold
const MAX_PRINCIPALS = 4096;
const MAX_PAYLOAD = 1024 * 1024;

/** The 32 bytes of a key as the keyset writes it: `ed25519:<base64>` or a line of OpenSSH. */
function rawKey(text, whose) {
  let raw;
  if (typeof text !== "string") refuse("keyset-shape", `a key of ${whose} is no text`);
  if (text.startsWith("ed25519:")) {
    raw = looseBase64(text.slice("ed25519:".length), "keyset-key");
  } else {
    const [kind, base64] = text.split(/[ \t]+/);
    if (kind !== SSH) refuse("keyset-key", `a key of ${whose} is of an unknown type`);
    const blob = looseBase64(base64, "keyset-key");
    const head = Buffer.concat([Buffer.from([0, 0, 0, SSH.length]), Buffer.from(SSH), Buffer.from([0, 0, 0, 32])]);
    if (!blob.subarray(0, head.length).equals(head)) refuse("keyset-key", `a key of ${whose} is no ${SSH} key`);
    raw = blob.subarray(head.length);
  }
  if (raw.length !== 32) refuse("keyset-key", `a key of ${whose} has not 32 bytes`);
  if (unsound(raw)) refuse("keyset-unsound", `a key of ${whose} ${unsound(raw)}`);
  return raw;
}

/** The first instant (ms) at which a key is no longer good; null when it has no last day. */
function endOf(day, whose) {
  if (day === null || day === undefined) return null;
  const parts = typeof day === "string" ? DAY.exec(day) : null;
  const ms = parts === null ? NaN : Date.UTC(+parts[1], +parts[2] - 1, +parts[3]);
  // Date.UTC takes 31 February for 3 March, and years below 100 for 19xx.
  if (!(ms >= 0) || new Date(ms).toISOString().slice(0, 10) !== day) {
    refuse("keyset-shape", `expires of ${whose} is no day`);
  }
  return ms + DAY_MS;
}

function members(value, wanted, optional, what) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) refuse("keyset-shape", `${what} is no object`);
  for (const name of Object.keys(value)) {
    if (!wanted.includes(name) && !optional.includes(name)) refuse("keyset-shape", `${what} has an unknown ${name}`);
  }
  for (const name of wanted) if (!(name in value)) refuse("keyset-shape", `${what} has no ${name}`);
}

const isCount = (value) => Number.isSafeInteger(value) && value >= 1;

/** A keyset from its parsed JSON. Throws `Refused`; nothing of a keyset with one bad key is used. */
export function readKeyset(value) {
  members(value, ["fleet", "principals", "version"], ["expires", "thresholds"], "the keyset");
  if (!isCount(value.version)) refuse("keyset-shape", "version is no number");
  if (!/^[0-9a-f]{32}$/.test(value.fleet)) refuse("keyset-shape", "fleet is not 32 hex digits");
  const keys = new Map();
  const principals = new Map();
  members(value.principals, [], Object.keys(value.principals ?? {}), "principals");
  const many = Object.keys(value.principals).length;
  if (many < 1 || many > MAX_PRINCIPALS) refuse("keyset-shape", "no principals, or too many");
  for (const [name, each] of Object.entries(value.principals)) {
    if (!NAME.test(name)) refuse("keyset-shape", `${name} is no name`);
    principals.set(name, readPrincipal(name, each));
    const { until } = principals.get(name);
    for (const text of each.keys) {
      const raw = rawKey(text, name);
      const id = sha256hex(raw);
      if (keys.has(id)) refuse("keyset-key", `a key of ${name} is there twice`);
      keys.set(id, { principal: name, raw, until, public: publicKey(raw) });
    }
  }
  const found = thresholds(value, principals);
  const risk = [...principals.values()].filter((each) => each.authority === "risk");
  if (risk.length > 0 && !risk.some((each) => each.roles.has("approver"))) {
    refuse("keyset-risk", "there is the authority of risk, and no approver has it");
  }
  const until = endOf(value.expires, "the keyset");
  const keyset = { version: value.version, fleet: value.fleet, until, keys, principals, thresholds: found };
  return { ...keyset, payload: Buffer.from(canonical(value, keyset)) };
}

function readPrincipal(name, each) {
  members(each, ["keys", "roles"], ["authority", "expires", "shared"], name);
  const isList = (list) => Array.isArray(list) && list.length >= 1 && list.length <= MAX_LISTED;
  if (!isList(each.roles) || each.roles.some((role) => !ROLES.includes(role))) {
    refuse("keyset-shape", `${name} has no roles, or an unknown one`);
  }
  if (!isList(each.keys)) refuse("keyset-shape", `${name} has no keys, or too many`);
  if (!["boolean", "undefined"].includes(typeof each.shared)) refuse("keyset-shape", `shared of ${name}`);
  if (![undefined, null, "risk"].includes(each.authority)) refuse("keyset-shape", `the authority of ${name}`);
  const roles = new Set(each.roles);
  if (each.shared && !roles.has("worker")) refuse("keyset-shared", `${name} is shared and no worker`);
  return { roles, shared: each.shared ?? false, authority: each.authority ?? null, until: endOf(each.expires, name) };
}

function thresholds(value, principals) {
  const found = value.thresholds ?? {};
  members(found, [], Object.keys(found), "thresholds");
  for (const [name, needed] of Object.entries(found)) {
    if (![...ROLES, ...GRANT_KINDS].includes(name)) refuse("keyset-shape", `a threshold of an unknown ${name}`);
    if (!isCount(needed) || needed > MAX_LISTED) refuse("keyset-shape", `the threshold of ${name} is no number`);
    if (needed > 1 && !["approver", "root", ...GRANT_KINDS].includes(name)) {
      refuse("keyset-threshold", `one ${name} must be enough`);
    }
    const role = GRANT_KINDS.includes(name) ? "approver" : name;
    const holders = [...principals.values()].filter((each) => holds(each, role)).length;
    if (needed > holders) refuse("keyset-threshold", `${needed} ${role}s are needed, and there are ${holders}`);
  }
  return found;
}

/** Whether a principal may sign in a role. An approver may always stop: who turns on can turn off. */
export const holds = (principal, role) =>
  principal.roles.has(role) || (role === "revoker" && principal.roles.has("approver"));

/** How many must sign in a role; for the approvers of a grant, by its kind. */
export function thresholdOf(keyset, role, grantKind = null) {
  return (grantKind !== null ? keyset.thresholds[grantKind] : undefined) ?? keyset.thresholds[role] ?? 1;
}

export const keysetDigest = (payload) => sha256hex(payload);

/** A keyset from the exact bytes of its payload: sorted keys, no spaces, keys and roles sorted. */
export function readPayload(bytes) {
  const value = parseJson(bytes, "keyset-shape", MAX_PAYLOAD);
  const keyset = readKeyset(value);
  if (!keyset.payload.equals(Buffer.from(bytes))) {
    refuse("keyset-form", "the payload of a keyset in another form");
  }
  return keyset;
}

/** JSON with sorted keys and no spaces. JSON.stringify would put names that are numbers first. */
function sorted(entries) {
  const inOrder = entries.sort(([one], [other]) => (one < other ? -1 : 1));
  return `{${inOrder.map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(",")}}`;
}

function canonical(value, keyset) {
  const principals = [...keyset.principals.keys()].map((name) => {
    const each = value.principals[name];
    const keys = each.keys.map((text) => `ed25519:${rawKey(text, name).toString("base64")}`).sort();
    return [
      name,
      sorted([
        ["authority", JSON.stringify(each.authority ?? null)],
        ["expires", JSON.stringify(each.expires ?? null)],
        ["keys", JSON.stringify(keys)],
        ["roles", JSON.stringify([...new Set(each.roles)].sort())],
        ["shared", String(each.shared ?? false)],
      ]),
    ];
  });
  const approvers = thresholdOf(keyset, "approver");
  const needed = Object.entries(keyset.thresholds)
    .filter(([name, count]) => (GRANT_KINDS.includes(name) ? count !== approvers : count > 1))
    .map(([name, count]) => [name, String(count)]);
  // What has no end has the bytes that it had before keysets could have one.
  const end = keyset.until === null ? [] : [["expires", JSON.stringify(value.expires)]];
  return sorted([
    ...end,
    ["fleet", JSON.stringify(keyset.fleet)],
    ["principals", sorted(principals)],
    ["thresholds", sorted(needed)],
    ["version", String(keyset.version)],
  ]);
}

/**
 * A keyset from a file: the draft that `golive keys draft` writes, its payload alone, or a `keyset.yaml` that is
 * JSON, which is what `golive keys take` writes (its first lines begin with `#`). There is no reader of YAML here.
 */
export function keysetFromFile(bytes) {
  const text = Buffer.from(bytes).toString("latin1").replace(/^(?:#[^\n]*\n)+/, "");
  const value = parseJson(Buffer.from(text, "latin1"), "keyset-shape", 2 * MAX_PAYLOAD);
  if (value !== null && typeof value === "object" && typeof value.keyset === "string") {
    return readPayload(Buffer.from(value.keyset));
  }
  return readKeyset(value);
}
