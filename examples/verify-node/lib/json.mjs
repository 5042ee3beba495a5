// A strict JSON reader. JSON.parse takes duplicate keys, 1.0, 1e2 and 2^53+1, and rounds the last one.
import { Refused, utf8 } from "./bytes.mjs";

export const MAX_INT = Number.MAX_SAFE_INTEGER; // 2^53-1
const MAX_DEPTH = 8; // a value stands inside at most seven arrays and objects
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;

class Reader {
  constructor(text, rule) {
    this.text = text;
    this.at = 0;
    this.rule = rule;
  }

  fail(why) {
    throw new Refused(this.rule, `${why} at character ${this.at}`);
  }

  blanks() {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  take(character) {
    if (this.text[this.at] !== character) this.fail(`no ${character}`);
    this.at += 1;
  }

  value(depth) {
    if (depth >= MAX_DEPTH) this.fail("nested too deeply");
    const next = this.text[this.at];
    if (next === "{") return this.object(depth);
    if (next === "[") return this.array(depth);
    if (next === '"') return this.string();
    for (const [word, meaning] of [["true", true], ["false", false], ["null", null]]) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return meaning;
      }
    }
    return this.number();
  }

  object(depth) {
    const found = Object.create(null); // so that `__proto__` is a name like another
    this.items("{", "}", () => {
      const name = this.string();
      if (name in found) this.fail(`${JSON.stringify(name)} is there twice`);
      this.blanks();
      this.take(":");
      this.blanks();
      found[name] = this.value(depth + 1);
    });
    return found;
  }

  array(depth) {
    const found = [];
    this.items("[", "]", () => found.push(this.value(depth + 1)));
    return found;
  }

  items(open, close, one) {
    this.take(open);
    this.blanks();
    if (this.text[this.at] === close) {
      this.at += 1;
      return;
    }
    for (;;) {
      one();
      this.blanks();
      if (this.text[this.at] === close) break;
      this.take(",");
      this.blanks();
    }
    this.at += 1;
  }

  string() {
    this.take('"');
    let found = "";
    for (;;) {
      const next = this.text[this.at];
      if (next === undefined || next < " ") this.fail("a string that does not end, or a control character");
      this.at += 1;
      if (next === '"') break;
      found += next === "\\" ? this.escape() : next;
    }
    if (/\p{Surrogate}/u.test(found)) this.fail("a lone surrogate");
    return found;
  }

  escape() {
    const next = this.text[this.at];
    this.at += 1;
    if (next !== "u") return ESCAPES[next] ?? this.fail("an unknown escape");
    const digits = this.text.slice(this.at, this.at + 4);
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail("an escape without four hex digits");
    this.at += 4;
    return String.fromCharCode(parseInt(digits, 16));
  }

  number() {
    NUMBER.lastIndex = this.at;
    const found = NUMBER.exec(this.text)?.[0];
    if (found === undefined) this.fail("no value");
    if (/[.eE]/.test(found)) this.fail("a number that is not an integer");
    // Digits are counted first: a text of 8000 digits would be a slow BigInt and an infinite Number.
    if (found.length > 17 || Math.abs(Number(found)) > MAX_INT) this.fail("an integer beyond 2^53-1");
    this.at += found.length;
    return Number(found) + 0; // -0 is 0
  }
}

/** The value of strict JSON; anything else throws `Refused(rule)`. Objects have no prototype. */
export function parseJson(bytes, rule, limit = Infinity) {
  if (bytes.length > limit) throw new Refused(rule, `more than ${limit} bytes`);
  const reader = new Reader(utf8(bytes, rule), rule);
  reader.blanks();
  const found = reader.value(0);
  reader.blanks();
  if (reader.at !== reader.text.length) reader.fail("something after the end");
  return found;
}
