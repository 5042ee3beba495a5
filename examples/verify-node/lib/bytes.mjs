// Bytes: the refusal that everything here throws, base64 that is not lenient, hashes, keys, signatures.
import { createHash, createPublicKey, verify as cryptoVerify } from "node:crypto";

/** Why something has no effect: `rule` is the stable name of the rule, the message is for people. */
export class Refused extends Error {
  constructor(rule, text, index = null) {
    super(text);
    this.rule = rule;
    this.index = index;
  }
}

export const refuse = (rule, text) => {
  throw new Refused(rule, text);
};

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Bytes of base64 as keyset files have it: in the last letter there may be bits that mean nothing. */
export function looseBase64(text, rule) {
  // Buffer alone takes anything, so the text is looked at first.
  if (typeof text !== "string" || !BASE64.test(text)) refuse(rule, "not standard base64 with padding");
  return Buffer.from(text, "base64");
}

/** The bytes of standard base64 with padding, which has to be the one text of its bytes. */
export function unbase64(text, rule) {
  const bytes = looseBase64(text, rule);
  // Bits behind the last byte: `QQ==` and `QR==` are the same byte, and one of them is another text.
  if (bytes.toString("base64") !== text) refuse(rule, "base64 that does not encode back to the same text");
  return bytes;
}

/** The text of UTF-8 bytes; what is not UTF-8 is refused, and a byte order mark stays where it is. */
export function utf8(bytes, rule) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse(rule, "not UTF-8");
  }
}

export const sha256 = (...parts) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};
export const sha256hex = (...parts) => sha256(...parts).toString("hex");

const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const P = (1n << 255n) - 19n;
const Y8 = BigInt("0x05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826");
const SMALL_ORDER = new Set([0n, 1n, P - 1n, Y8, P - Y8]);

/** Why nobody should trust a public key of 32 bytes, or an empty text. */
export function unsound(raw) {
  const y = BigInt("0x" + Buffer.from(raw).reverse().toString("hex")) & ((1n << 255n) - 1n);
  if (y >= P) return "is not written canonically";
  if (SMALL_ORDER.has(y)) return "is of small order: anybody can sign under it";
  return "";
}

/** A public key for `signedBy`, from its 32 bytes. */
export const publicKey = (raw) =>
  createPublicKey({ key: Buffer.concat([SPKI, raw]), format: "der", type: "spki" });

/** Whether `signature` is the Ed25519 signature of `message`; one of another length is none. */
export function signedBy(key, message, signature) {
  return signature.length === 64 && cryptoVerify(null, message, key, signature);
}
