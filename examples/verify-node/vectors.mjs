#!/usr/bin/env node
// Hold this verifier against the vectors: node vectors.mjs ../../tests/vectors/*.json
// With --judge it reads a vector in JSON on each line and answers with its own verdict on a line.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Refused, unbase64 } from "./lib/bytes.mjs";
import { MAX_BYTES, nextKeyset, verify } from "./lib/envelope.mjs";
import { parseJson } from "./lib/json.mjs";
import { keysetDigest, keysetFromFile, readPayload } from "./lib/keyset.mjs";
import { entriesOf, judge } from "./lib/ledger.mjs";
import { checkConsistency, checkInclusion, leaf, root } from "./lib/merkle.mjs";
import { covers, stateOf } from "./lib/state.mjs";
import { checkProof, openCheckpoint, openNote, readPolicy, readVkey } from "./lib/notes.mjs";

/** Bytes as vectors write them: `{text}` in UTF-8, or `{base64}`. */
const bytesOf = (given) => ("text" in given ? Buffer.from(given.text) : Buffer.from(given.base64, "base64"));
const hashes = (list) => list.map((hex) => Buffer.from(hex, "hex"));
const keysOf = (vkeys) => vkeys.map((text) => readVkey(text));
const number = (value) => (value === null ? null : String(value));
const signedBy = (signed) => signed.map(({ key, time }) => ({ name: key.name, time: number(time) }));

function ledgerOf(given, shared) {
  const keysets = new Map();
  for (const name of given.keysets) {
    const keyset = readPayload(Buffer.from(shared.keysets[name]));
    keysets.set(keyset.version, keyset);
  }
  const entry = ([id, name, h, ...others]) => ({ id, r: bytesOf(shared.envelopes[name]), h, others });
  const entries = given.export === undefined ? given.entries.map(entry) : entriesOf(bytesOf(given.export));
  const { verdict, entries: count, head, rule, index, remembered } = judge(entries, keysets, given, given.kept ?? null);
  if (verdict === "NOT VERIFIED") throw new Refused(rule, "", index);
  return { verdict, entries: count, head, remembered };
}

/** What each kind of vector asks: from what is given to what is accepted, or `Refused`. */
const OPS = {
  json: (given) => ({ value: parseJson(bytesOf(given.json), "envelope-1", MAX_BYTES) }),
  base64: (given) => ({ hex: unbase64(given.text, "envelope-3").toString("hex") }),
  envelope(given, shared) {
    const keyset = readPayload(Buffer.from(shared.keysets[given.keyset]));
    const found = verify(bytesOf(given.envelope), { ...given, keyset }, given.kind ?? null);
    return { kind: found.kind, identity: found.identity, by: found.record.by, signers: [...found.signers].sort() };
  },
  keyset(given) {
    const keyset = keysetFromFile(bytesOf(given.keyset));
    return { version: keyset.version, fleet: keyset.fleet, keys: [...keyset.keys.keys()].sort() };
  },
  payload(given) {
    const bytes = bytesOf(given.payload);
    return { version: readPayload(bytes).version, digest: keysetDigest(bytes) };
  },
  steps(given, shared) {
    const payload = Buffer.from(shared.keysets[given.current]);
    let current = { payload, keyset: readPayload(payload) };
    for (const step of given.steps) {
      current = nextKeyset(current, { payload: bytesOf(step.payload), record: bytesOf(step.record) }, given);
    }
    return { version: current.keyset.version, digest: keysetDigest(current.payload) };
  },
  covers: ({ revocation, term, activated_at_ms, arrived_ms }) => ({
    covers: covers(revocation, term, activated_at_ms, arrived_ms),
  }),
  state(given, shared) {
    const trust = { ...given, keyset: readPayload(Buffer.from(shared.keysets[given.keyset])) };
    const grant = verify(bytesOf(given.grant), trust, "grant");
    return stateOf(grant, given.restrictions.map((each) => verify(bytesOf(each), trust, "restriction")));
  },
  ledger: ledgerOf,
  root: (given) => ({ root: root(given.entries.map((each) => leaf(bytesOf(each)))).toString("hex") }),
  inclusion(given) {
    const [hash, top] = hashes([given.leaf, given.root]);
    checkInclusion(hash, BigInt(given.index), BigInt(given.size), hashes(given.proof), top);
    return { holds: true };
  },
  consistency(given) {
    const [one, two] = hashes([given.old_root, given.new_root]);
    checkConsistency(BigInt(given.old), BigInt(given.new), hashes(given.proof), one, two);
    return { holds: true };
  },
  vkey(given) {
    const key = readVkey(given.vkey);
    return { name: key.name, type: key.type, key: key.raw.toString("hex") };
  },
  note(given) {
    const opened = openNote(bytesOf(given.note), keysOf(given.vkeys));
    return { text: opened.text, signed: signedBy(opened.signed) };
  },
  checkpoint(given) {
    const found = openCheckpoint(bytesOf(given.note), keysOf(given.logs), keysOf(given.witnesses));
    const { origin, size, root: top, signed } = found;
    return { origin, size: String(size), root: top.toString("hex"), signed: signedBy(signed) };
  },
  policy(given) {
    const policy = readPolicy(bytesOf(given.policy));
    if (given.checkpoint === undefined) return { logs: policy.logs.length, witnesses: policy.witnesses.size };
    const { origin, size } = policy.accepts(bytesOf(given.checkpoint));
    return { origin, size: String(size) };
  },
  proof(given) {
    const found = checkProof(bytesOf(given.proof), bytesOf(given.entry), readPolicy(bytesOf(given.policy)));
    return { index: String(found.index), size: String(found.checkpoint.size) };
  },
};

/** The verdict on a vector: `{accept: …}`, or `{refuse: rule}` and in a ledger the index of the entry. */
function decide(vector, shared) {
  try {
    return { accept: OPS[vector.op](vector.given, shared) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return error.index === null ? { refuse: error.rule } : { refuse: error.rule, index: error.index };
  }
}

/** JSON with sorted keys, so that two values can be compared. */
function inOrder(value) {
  if (Array.isArray(value)) return `[${value.map(inOrder).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${inOrder(value[name])}`).join(",")}}`;
}

function hold(files) {
  let [count, wrong] = [0, 0];
  for (const file of files) {
    const shared = JSON.parse(readFileSync(file));
    for (const vector of shared.vectors ?? []) {
      const said = inOrder(decide(vector, shared));
      count += 1;
      if (said === inOrder(vector.expect)) continue;
      wrong += 1;
      console.log(`${file}: ${vector.name}\n  expected ${inOrder(vector.expect)}\n  decided  ${said}`);
    }
  }
  console.log(`${count} vectors, ${wrong} decided otherwise`);
  return wrong === 0 && count > 0 ? 0 : 1;
}

async function answer() {
  let shared = {};
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    if (asked.shared !== undefined) shared = asked.shared;
    else process.stdout.write(`${JSON.stringify(decide(asked, shared))}\n`);
  }
}

const files = process.argv.slice(2);
if (files[0] === "--judge") await answer();
else process.exitCode = hold(files);
