#!/usr/bin/env node
// Judge an export of a ledger, with nothing but Node: node verify.mjs ledger.jsonl --keyset keyset-1.json
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Refused, refuse } from "./lib/bytes.mjs";
import { keysetFromFile } from "./lib/keyset.mjs";
import { GENESIS, entriesOf, judge } from "./lib/ledger.mjs";

const USAGE = `usage: node verify.mjs LEDGER.jsonl --keyset FILE [--keyset FILE ...] [--head HEAD] [--json]
  --keyset FILE  a keyset as JSON: keyset-NUMBER.json of \`golive keys draft\`; one for each version
  --head HEAD    a head that you have kept: the ledger has to have it
exit codes: 0 it is good, 5 it is not, 6 a file or an option is wrong`;

function options() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        keyset: { type: "string", multiple: true, default: [] },
        head: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) return { help: true };
    if (positionals.length !== 1 || values.keyset.length === 0) throw new Error("it takes one ledger and a keyset");
    const isHead = (text) => /^[0-9a-f]{64}$/.test(text) && text !== GENESIS;
    if (values.head !== undefined && !isHead(values.head)) throw new Error("--head is 64 hex digits, not all 0");
    return { ...values, file: positionals[0] };
  } catch (error) {
    throw new Refused("usage", `${error.message}\n${USAGE}`);
  }
}

function read(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    return refuse("usage", error.message);
  }
}

function keysetsOf(paths) {
  const found = new Map();
  for (const path of paths) {
    let keyset;
    try {
      keyset = keysetFromFile(read(path));
    } catch (error) {
      if (!(error instanceof Refused) || error.rule === "usage") throw error;
      refuse("usage", `${path} is no keyset that can be used: ${error.message} (${error.rule})`);
    }
    if (found.has(keyset.version)) refuse("usage", `two keysets of version ${keyset.version}`);
    for (const other of found.values()) {
      if (other.fleet !== keyset.fleet) refuse("usage", "these keysets are of different fleets");
    }
    found.set(keyset.version, keyset);
  }
  return found;
}

/** Which switch the export says that it is of, in its first record: all entries have to be of it. */
function firstClaim(bytes) {
  for (const entry of linesOf(bytes)) {
    const { namespace, environment } = entry.record ?? {};
    if (typeof namespace === "string" && typeof environment === "string") return { namespace, environment };
  }
  return refuse("V1", "the export is empty, or holds no record: it shows nothing");
}

function* linesOf(bytes) {
  try {
    yield* entriesOf(bytes);
  } catch (error) {
    if (!(error instanceof Refused)) throw error; // which line is bad is told where it is judged
  }
}

function say(verdict, where, json) {
  if (json) return console.log(JSON.stringify({ ...verdict, ...where }));
  const what = `${where.environment} (${where.namespace})`;
  console.log(`${verdict.entries} entries`);
  if (verdict.verdict === "NOT VERIFIED") {
    console.log(`entry ${verdict.index} ${verdict.why} (${verdict.rule})`);
    console.log(`NOT VERIFIED ${what}`);
  } else if (verdict.verdict === "VERIFIED") {
    const upTo = verdict.remembered > 0 ? ` up to entry ${verdict.remembered - 1}` : "";
    console.log(`VERIFIED ${what}${upTo}, which the head that you kept remembers`);
  } else console.log(`CONSISTENT ${what}, not protected: nobody remembers its end`);
  if (verdict.verdict !== "NOT VERIFIED") console.log(`keep this head apart from the file: ${verdict.head}`);
  return undefined;
}

function main() {
  const { help, file, keyset, head, json } = options();
  if (help) {
    console.log(USAGE);
    return 0;
  }
  const keysets = keysetsOf(keyset);
  const bytes = read(file);
  let where;
  try {
    where = firstClaim(bytes);
  } catch (error) {
    if (!(error instanceof Refused) || error.rule === "usage") throw error;
    const empty = { verdict: "NOT VERIFIED", entries: 0, head: GENESIS, index: 0, rule: "V1", why: error.message };
    say(empty, { namespace: "-", environment: "-" }, json);
    return 5;
  }
  const verdict = judge(entriesOf(bytes), keysets, where, head ?? null);
  say(verdict, where, json);
  return verdict.verdict === "NOT VERIFIED" ? 5 : 0;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  console.error(`error: ${error.message}`);
  process.exitCode = 6;
}
