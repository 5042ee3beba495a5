// Signed notes, checkpoints, cosignatures, policies and the proof of one entry (the page checkpoints.md).
import { publicKey, refuse, sha256, signedBy, unbase64, unsound, utf8 } from "./bytes.mjs";
import { MAX_SIZE, checkInclusion, leaf } from "./merkle.mjs";

const MAX_NOTE = 256 * 1024;
const MAX_LINES = 64;
const LOG = 1;
const WITNESS = 4;
const MAX_TIME = 2n ** 63n - 1n;
const MAX_PROOF = 384 * 1024;
const DIGITS = /^(?:0|[1-9][0-9]*)$/;

const goodName = (name) => name !== "" && !/[+\p{White_Space}\u0000-\u001f]/u.test(name);

/** A verifier key `name+hex+base64`, or `Refused(rule)`. */
export function readVkey(text, rule = "note-5") {
  const [name, id, ...rest] = text.split("+");
  if (!goodName(name) || rest.length === 0) refuse(rule, "no verifier key");
  const typed = unbase64(rest.join("+"), rule);
  if (![LOG, WITNESS].includes(typed[0]) || typed.length !== 33) refuse(rule, "a key of another type");
  const keyId = sha256(name, "\n", typed).subarray(0, 4);
  if (keyId.toString("hex") !== id) refuse(rule, "a key id that is not its own");
  const raw = typed.subarray(1);
  if (unsound(raw)) refuse(rule, `a key that ${unsound(raw)}`);
  return { name, keyId, type: typed[0], raw, public: publicKey(raw) };
}

function readLine(line) {
  const [dash, name, base64, ...rest] = line.split(" ");
  if (dash !== "\u2014" || base64 === undefined || rest.length > 0 || !goodName(name)) {
    refuse("note-2", "a line that is no signature");
  }
  const raw = unbase64(base64, "note-2");
  if (raw.length < 5) refuse("note-2", "a signature of nothing");
  return { name, keyId: raw.subarray(0, 4), signature: raw.subarray(4) };
}

/** Text and signature lines of a note. Nothing is verified yet. */
export function readNote(bytes) {
  if (bytes.length > MAX_NOTE) refuse("note-1", "more than 256 KiB");
  const whole = utf8(bytes, "note-1");
  for (const character of whole) {
    if (character < " " && character !== "\n") refuse("note-1", "a control character");
  }
  const end = whole.lastIndexOf("\n\n");
  if (end < 0 || !whole.endsWith("\n")) refuse("note-2", "no signatures");
  const below = whole.slice(end + 2);
  if (below === "") refuse("note-2", "no signatures");
  const lines = below.slice(0, -1).split("\n");
  if (lines.length > MAX_LINES) refuse("note-1", `more than ${MAX_LINES} signatures`);
  return { text: whole.slice(0, end + 1), lines: lines.map(readLine) };
}

/** The known keys that have signed: `[{key, time}]`, time in Unix seconds (BigInt) of a cosignature. */
export function openNote(bytes, vkeys) {
  const note = readNote(bytes);
  const signed = new Map();
  for (const line of note.lines) {
    const key = vkeys.find((each) => each.name === line.name && each.keyId.equals(line.keyId));
    if (key === undefined) continue;
    const cosigned = key.type === WITNESS;
    if (line.signature.length !== (cosigned ? 72 : 64)) refuse("note-3", `${key.name} has not signed it`);
    const time = cosigned ? line.signature.readBigUInt64BE(0) : null;
    const head = cosigned ? `cosignature/v1\ntime ${time}\n` : "";
    const signature = cosigned ? line.signature.subarray(8) : line.signature;
    if (cosigned && time > MAX_TIME) refuse("note-3", `${key.name} has signed no time`);
    if (!signedBy(key.public, Buffer.from(head + note.text), signature)) {
      refuse("note-3", `${key.name} has not signed it`);
    }
    if (!signed.has(key)) signed.set(key, time);
  }
  if (signed.size === 0) refuse("note-4", "no known key has signed it");
  return { ...note, signed: [...signed].map(([key, time]) => ({ key, time })) };
}

/** Origin, size (BigInt), root and further lines of a checkpoint's text. */
export function readCheckpoint(text) {
  const [origin, size, base64, ...more] = text.split("\n");
  if (origin === "" || base64 === undefined || more.length === 0) refuse("checkpoint", "fewer than three lines");
  if (!DIGITS.test(size) || BigInt(size) > MAX_SIZE) refuse("checkpoint", "no size");
  const root = unbase64(base64, "checkpoint");
  if (root.length !== 32) refuse("checkpoint", "a root that has not 32 bytes");
  const extensions = more.slice(0, -1);
  if (extensions.some((line) => line === "")) refuse("checkpoint", "an empty line");
  return { origin, size: BigInt(size), root, extensions };
}

/** A checkpoint that one of `logs` with its origin as name has signed; `witnesses` are known besides. */
export function openCheckpoint(bytes, logs, witnesses) {
  const { origin } = readCheckpoint(readNote(bytes).text);
  // The key of one log says nothing about another, not even by a bad signature.
  const own = logs.filter((key) => key.name === origin);
  const opened = openNote(bytes, [...own, ...witnesses]);
  if (!opened.signed.some(({ key }) => own.includes(key))) refuse("note-4", "its log has not signed it");
  return { ...readCheckpoint(opened.text), signed: opened.signed };
}

// A policy is read as bytes (latin1), for names are bytes; the name in a verifier key has to be UTF-8.
const vkeyOf = (word) => readVkey(utf8(Buffer.from(word ?? "", "latin1"), "policy"), "policy");

/** What the lines of a policy have defined so far. */
class PolicyReader {
  logs = [];
  witnesses = new Map(); // name to key
  groups = new Map(); // name to {members, needed}, in their order
  taken = new Set(); // members of groups
  quorumName;

  declare(name, map) {
    if (name === "none" || this.isKnown(name)) refuse("policy", `the name ${name} is taken`);
    if (map.size >= MAX_LINES) refuse("policy", `more than ${MAX_LINES} lines of a kind`);
  }

  isKnown(name) {
    return this.witnesses.has(name) || this.groups.has(name);
  }

  log(vkey, url, ...more) {
    if (vkey === undefined || more.length > 0) refuse("policy", "log VKEY [URL]");
    const key = vkeyOf(vkey);
    if (this.logs.some((each) => each.raw.equals(key.raw))) refuse("policy", "a key that is listed twice");
    if (this.logs.length >= MAX_LINES) refuse("policy", `more than ${MAX_LINES} lines of a kind`);
    this.logs.push(key);
  }

  witness(name, vkey, url, ...more) {
    if (vkey === undefined || more.length > 0) refuse("policy", "witness NAME VKEY [URL]");
    const key = vkeyOf(vkey);
    if (key.type !== WITNESS) refuse("policy", "a key of another type than 0x04");
    this.declare(name, this.witnesses);
    if ([...this.witnesses.values()].some((each) => each.raw.equals(key.raw))) {
      refuse("policy", "a key that is listed twice");
    }
    this.witnesses.set(name, key);
  }

  group(name, count, ...members) {
    if (members.length === 0) refuse("policy", "group NAME any|all|K NAME...");
    for (const member of members) {
      if (!this.isKnown(member)) refuse("policy", `${member} is not known`);
      if (this.taken.has(member)) refuse("policy", `${member} is in two groups`);
      this.taken.add(member);
    }
    const number = /^[1-9][0-9]{0,3}$/.test(count) ? Number(count) : 0;
    const needed = count === "any" ? 1 : count === "all" ? members.length : number;
    if (needed < 1 || needed > members.length) refuse("policy", "a threshold below 1, or above the number of members");
    this.declare(name, this.groups);
    this.groups.set(name, { members, needed });
  }

  quorum(name, ...more) {
    if (name === undefined || more.length > 0) refuse("policy", "quorum NAME|none");
    if (this.quorumName !== undefined) refuse("policy", "a second quorum");
    if (name !== "none" && !this.isKnown(name)) refuse("policy", `${name} is not known`);
    this.quorumName = name;
  }

  met(name, cosigned) {
    if (name === "none") return true;
    if (this.witnesses.has(name)) return cosigned.has(this.witnesses.get(name));
    const { members, needed } = this.groups.get(name);
    return members.filter((member) => this.met(member, cosigned)).length >= needed;
  }

  /** The checkpoint, when one of the logs has signed it and the quorum has cosigned it. */
  accepts(checkpoint) {
    const opened = openCheckpoint(checkpoint, this.logs, [...this.witnesses.values()]);
    const cosigned = new Set(opened.signed.map(({ key }) => key));
    if (!this.met(this.quorumName, cosigned)) refuse("quorum", "fewer witnesses than the policy asks for");
    return opened;
  }
}

/** A policy; its `accepts(bytes)` judges a checkpoint. */
export function readPolicy(bytes) {
  if (bytes.length > MAX_NOTE) refuse("policy", "more than 256 KiB");
  const text = Buffer.from(bytes).toString("latin1");
  if (/[^\x09\x0a\x20-\x7e\x80-\xff]/.test(text)) refuse("policy", "a control character");
  if (!text.endsWith("\n")) refuse("policy", "it does not end with a newline: it may have been cut off");
  const policy = new PolicyReader();
  for (const line of text.split("\n")) {
    const [word, ...rest] = line.split(/[ \t]+/).filter((part) => part !== "");
    if (word === undefined || word.startsWith("#")) continue;
    if (!["log", "witness", "group", "quorum"].includes(word)) refuse("policy", `an unknown line ${word}`);
    policy[word](...rest);
  }
  if (policy.quorumName === undefined) refuse("policy", "no quorum");
  return policy;
}

/** A `.tlog-proof`: that `envelope` is an entry of the log, as the policy demands. Returns index and checkpoint. */
export function checkProof(bytes, envelope, policy) {
  if (bytes.length > MAX_PROOF) refuse("proof", "more than 384 KiB");
  const text = utf8(bytes, "proof");
  const end = text.indexOf("\n\n");
  if (end < 0) refuse("proof", "no checkpoint");
  const [version, ...lines] = text.slice(0, end).split("\n");
  if (version !== "c2sp.org/tlog-proof@v1") refuse("proof", "another version");
  if (lines[0]?.startsWith("extra ")) unbase64(lines.shift().slice("extra ".length), "proof");
  const index = /^index (0|[1-9][0-9]*)$/.exec(lines.shift() ?? "")?.[1];
  if (index === undefined || BigInt(index) > MAX_SIZE) refuse("proof", "no index");
  const path = lines.map((line) => unbase64(line, "proof"));
  if (path.length > 63 || path.some((hash) => hash.length !== 32)) {
    refuse("proof", "more than 63 hashes, or one that has not 32 bytes");
  }
  const checkpoint = policy.accepts(Buffer.from(text.slice(end + 2)));
  checkInclusion(leaf(envelope), BigInt(index), checkpoint.size, path, checkpoint.root);
  return { index: BigInt(index), checkpoint };
}
