#!lua flags=allow-oom
-- Register the caller's presence and read the state, in one atomic step. Being a write it runs on a
-- primary only, so no lagging replica and no read-splitting proxy can answer it.
--
-- KEYS  1 presence (hash, 10 s)   2 roster: sorted set of workers, or hash of heartbeats
-- ARGV  1 namespace   2 nonce   3 name of the set of directives that the caller holds, or ''
--       4 identity of the tombstone it holds, or ''   5 its roster member   6 presence life in ms
--       7 'worker' | 'heartbeat'   8 instance   9.. presence fields and values; none when unchanged,
--       and 'state' first when these are all of them
-- Reply nonce, status, detail, set, pttl_ms, grant, {restriction...}, {name, beat, ...}, tombstone,
--       head, execution (heartbeats only).   status: OK | REGISTER (presence or roster entry is gone: ask again
--       with all fields) | CORRUPT (detail: the key of a wrong type).   grant is 'SAME' when set is the caller's;
--       tombstone is 'SAME' when it is the caller's. Absent values are nil.
-- Siblings are derived from the namespace: ACL demands read and write on every declared key.
local ns, nonce = ARGV[1], ARGV[2]
local function bad(reply) return type(reply) == 'table' and reply.err end
local function corrupt(key, reply)
  if not string.find(tostring(reply.err), 'WRONGTYPE', 1, true) then return reply end -- e.g. NOPERM
  return {nonce, 'CORRUPT', key, false, -2, false, {}, {}, false, false, false}
end

local alive = redis.call('PEXPIRE', KEYS[1], ARGV[6]) == 1 -- A7: refused here, it leaves nothing endless
local register = {nonce, 'REGISTER', false, false, -2, false, {}, {}, false, false, false}
if #ARGV > 8 then
  -- Changes alone would make a presence without state, version and labels, and nothing would mend it.
  if not alive and ARGV[9] ~= 'state' then return register end
  redis.call('HSET', KEYS[1], unpack(ARGV, 9))
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
  if ARGV[7] == 'worker' then
    -- A5: a word that it is dead was wrong, and may not count when somebody hides its entry later. Its own
    -- goodbye stays: a question that it gave up on may be carried out after it.
    local left = ns .. ':left:' .. ARGV[5]
    local word = redis.pcall('GET', left)
    if type(word) == 'string' and string.find(word, 'golive.note.', 1, true) then redis.call('SET', left, '', 'XX', 'KEEPTTL') end
    local roster = redis.pcall('ZADD', KEYS[2], 'NX', redis.call('TIME')[1], ARGV[5])
    if bad(roster) then return corrupt(KEYS[2], roster) end
  else
    local roster = redis.pcall('HSET', KEYS[2], ARGV[5], ARGV[8])
    if bad(roster) then return corrupt(KEYS[2], roster) end
  end
else
  local listed = redis.pcall(ARGV[7] == 'worker' and 'ZSCORE' or 'HGET', KEYS[2], ARGV[5])
  if bad(listed) then return corrupt(KEYS[2], listed) end
  if not alive or not listed then return register end -- S14
end

local stone = redis.pcall('HMGET', ns .. ':revoked', 'record', 'id')
if bad(stone) then return corrupt(ns .. ':revoked', stone) end
local tombstone = stone[1]
if tombstone and stone[2] and stone[2] == ARGV[4] then tombstone = 'SAME' end

local active = ns .. ':active'
local known = redis.pcall('HMGET', active, 'set', 'grant', 'execution')
if bad(known) then return corrupt(active, known) end
local set, grant, restrictions = known[1], known[2], {}
if grant and set and set == ARGV[3] then
  grant = 'SAME'
elseif grant then
  local fields = redis.call('HGETALL', active)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'r:' then restrictions[#restrictions + 1] = fields[i + 1] end
  end
end

local beats = {}
if grant then
  beats = redis.pcall('HGETALL', ns .. ':beat')
  if bad(beats) then return corrupt(ns .. ':beat', beats) end
end
local head, execution = false, false -- for heartbeats, who write to the ledger and stand at the door
if ARGV[7] == 'heartbeat' then
  if grant and grant ~= 'SAME' then execution = known[3] end
  head = redis.pcall('GET', ns .. ':head')
  if bad(head) then head = false end
end
return {nonce, 'OK', false, set, redis.call('PTTL', active), grant, restrictions, beats, tombstone, head, execution}
