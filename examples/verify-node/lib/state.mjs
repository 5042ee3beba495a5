// From verified records to what is permitted: the state of a term, and what a revocation ends.
import { refuse, sha256hex } from "./bytes.mjs";

const BLIND_MS = 30_000;
const MODES = ["live", "reduce_only", "halted"]; // the strictest last
const PROFILES = ["micro", "small", "medium", "large"]; // the smallest first

/** Whether a revocation ends a term that was activated then; `arrivedMs` is when the reader got it. */
export function covers(revocation, term, activatedMs, arrivedMs) {
  const reachMs = Math.min(revocation.issued_at_ms, arrivedMs + BLIND_MS);
  const beforeMs = revocation.until_ms ?? Infinity; // of a stop card
  return (term <= revocation.epoch && activatedMs < beforeMs) || (revocation.blind && activatedMs <= reachMs);
}

function isInForce({ identity, record }, grant) {
  if (record.term !== grant.term) return false;
  return grant.keeps.includes(identity) || (record.epoch > grant.drops_up_to && !grant.drops.includes(identity));
}

/**
 * The state of a term from its newest grant and its restrictions, all verified: which restrictions are in force,
 * the digest that beats name, mode and profile for an order that no label concerns.
 */
export function stateOf(grant, restrictions) {
  const held = restrictions.filter((each) => isInForce(each, grant.record));
  const names = new Set(held.map((each) => each.identity));
  if (grant.record.keeps.some((each) => !names.has(each))) refuse("state", "a restriction that it keeps is missing");
  const modes = held.filter(({ record }) => Object.keys(record.labels).length === 0).map(({ record }) => record.mode);
  const ranks = [grant.record.mode, ...modes.filter((mode) => mode !== null)].map((mode) => MODES.indexOf(mode));
  const caps = held.map(({ record }) => record.profile).filter((profile) => profile !== null);
  const sizes = [grant.record.profile, ...caps].map((profile) => PROFILES.indexOf(profile));
  return {
    in_force: [...names].sort(),
    digest: sha256hex([grant.identity, ...names].sort().join("\n")),
    mode: MODES[Math.max(...ranks)],
    profile: PROFILES[Math.min(...sizes)],
  };
}
