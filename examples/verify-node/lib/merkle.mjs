// The tree over the entries (RFC 6962) and its two kinds of proof (RFC 9162). Sizes are BigInt: they go to 2^63-1.
import { refuse, sha256 } from "./bytes.mjs";

export const MAX_SIZE = 2n ** 63n - 1n;
const MAX_PROOF = 63;

export const leaf = (envelope) => sha256(Buffer.from([0]), envelope);
export const node = (left, right) => sha256(Buffer.from([1]), left, right);

/** The root over leaf hashes; without leaves the SHA-256 of nothing. */
export function root(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  let half = 1;
  while (half * 2 < leaves.length) half *= 2;
  return node(root(leaves.slice(0, half)), root(leaves.slice(half)));
}

function requireProof(sizes, hashes) {
  if (sizes.some((size) => size < 0n || size > MAX_SIZE)) refuse("tree-size", "a size beyond 2^63-1");
  if (hashes.length > MAX_PROOF) refuse("tree-proof", `more than ${MAX_PROOF} hashes`);
  if (hashes.some((hash) => hash.length !== 32)) refuse("tree-proof", "a hash that has not 32 bytes");
}

/** Whether `proof` shows that `hash` is the leaf `index` of the tree of `size` under `top`; else `Refused`. */
export function checkInclusion(hash, index, size, proof, top) {
  requireProof([index, size], proof);
  requireProof([], [hash, top]);
  if (index >= size) refuse("tree-size", "an index that is not in the tree");
  let [place, last, found] = [index, size - 1n, hash];
  for (const each of proof) {
    if (last === 0n) refuse("tree-proof", "a hash too many");
    if (place & 1n || place === last) {
      found = node(each, found);
      while (place !== 0n && !(place & 1n)) [place, last] = [place >> 1n, last >> 1n];
    } else found = node(found, each);
    [place, last] = [place >> 1n, last >> 1n];
  }
  if (last !== 0n) refuse("tree-proof", "a hash too few");
  if (!found.equals(top)) refuse("tree-proof", "another root");
}

/** Whether `proof` shows that the tree of `old` is the beginning of the tree of `size`; else `Refused`. */
export function checkConsistency(old, size, proof, oldRoot, newRoot) {
  requireProof([old, size], proof);
  requireProof([], [oldRoot, newRoot]);
  if (old > size) refuse("tree-size", "the older tree is the larger one");
  if (old === 0n || old === size) {
    if (proof.length > 0) refuse("tree-proof", "a hash too many");
    if (old === 0n && !oldRoot.equals(root([]))) refuse("tree-proof", "a root of nothing that is another");
    if (old === size && !oldRoot.equals(newRoot)) refuse("tree-proof", "two roots of one size");
    return;
  }
  if (proof.length === 0) refuse("tree-proof", "a hash too few");
  const isPower = (old & (old - 1n)) === 0n;
  const path = isPower ? [oldRoot, ...proof] : proof;
  let [place, last] = [old - 1n, size - 1n];
  while (place & 1n) [place, last] = [place >> 1n, last >> 1n];
  let [one, two] = [path[0], path[0]];
  for (const each of path.slice(1)) {
    if (last === 0n) refuse("tree-proof", "a hash too many");
    if (place & 1n || place === last) {
      [one, two] = [node(each, one), node(each, two)];
      while (place !== 0n && !(place & 1n)) [place, last] = [place >> 1n, last >> 1n];
    } else two = node(two, each);
    [place, last] = [place >> 1n, last >> 1n];
  }
  if (last !== 0n) refuse("tree-proof", "a hash too few");
  if (!one.equals(oldRoot) || !two.equals(newRoot)) refuse("tree-proof", "another root");
}
