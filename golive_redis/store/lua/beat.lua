#!lua flags=allow-oom
-- Record a heartbeat's beat and keep the active key alive. Never creates the active key.
--
-- KEYS  1 beat (hash)   2 active (hash)
-- ARGV  1 namespace   2 heartbeat   3 beat record   4 term   5 ttl_ms
-- Reply {'OK', pttl_ms} | {'REFUSED', why}   why: absent | term | revoked | corrupt
-- The active key's TTL is renewed only under 3/4 of ttl_ms: each PEXPIRE on it is a tracking push to
-- the whole fleet. A key without TTL, or with more than ttl_ms, was tampered with and is left alone.
local function bad(reply) return type(reply) == 'table' and reply.err end
local term = redis.pcall('HGET', KEYS[2], 'term')
if bad(term) then return {'REFUSED', 'corrupt'} end
if not term then return {'REFUSED', 'absent'} end
if term ~= ARGV[4] then return {'REFUSED', 'term'} end
local epoch = redis.pcall('HGET', ARGV[1] .. ':revoked', 'epoch')
if bad(epoch) then return {'REFUSED', 'corrupt'} end
if epoch and not tonumber(epoch) then return {'REFUSED', 'corrupt'} end
if epoch and tonumber(epoch) >= tonumber(ARGV[4]) then return {'REFUSED', 'revoked'} end -- S12
local beat = redis.pcall('HSET', KEYS[1], ARGV[2], ARGV[3])
if bad(beat) then
  return string.find(tostring(beat.err), 'WRONGTYPE', 1, true) and {'REFUSED', 'corrupt'} or beat -- e.g. NOPERM
end
redis.call('PEXPIRE', KEYS[1], ARGV[5])
local pttl = redis.call('PTTL', KEYS[2])
if pttl >= 0 and pttl < tonumber(ARGV[5]) * 3 / 4 then
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
  pttl = tonumber(ARGV[5])
end
return {'OK', pttl}
