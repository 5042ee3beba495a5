#!lua
-- Put a grant in force: activate, resume, restore, promote, extend. No audit, no loosening: the
-- ledger entry is written first, and everything is refused when it cannot be.
--
-- KEYS  1 active   2 beat   3 revoked   4 epoch   5 last   6 head   7 audit   8 fleet id   9 keyset
-- ARGV  1 'activate' | 'change'   2 term   3 epoch   4 record   5 identity   6 identity of the
--       directive before, or ''   7 ttl_ms   8 origin (run id of this primary)   9 ledger head
--       before   10 ledger head after   11 events channel   12 id of the fleet
--       13 the execution, or ''   14 ledger head after that, before the grant's entry   15 number of the
--       keyset after the one it was signed under   16.. fields of restrictions to keep
-- Reply {'OK', '', '', why the push was refused, or ''} | {'SAME'} (this very grant is in force) |
--       {'REFUSED', why, detail} | {'CONFLICT', identity of the last directive} | {'HEAD', ledger head}
--       why: revoked | used | active | absent | term | corrupt | fleet (the store is another one's) |
--       keyset (a later one stands: hosts go over to it, and may refuse what was signed before)
-- An error is a refusal, too: nothing was changed (A7).
local function bad(reply) return type(reply) == 'table' and reply.err end
local kinds = {'hash', 'hash', 'hash', 'string', 'string', 'string', 'stream', 'string', 'hash'}
for i, kind in ipairs(kinds) do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= 'none' and is ~= kind then return {'REFUSED', 'corrupt', KEYS[i]} end
end
local fleet = redis.call('GET', KEYS[8])
if fleet and fleet ~= ARGV[12] then return {'REFUSED', 'fleet', fleet} end -- S1
local last = redis.call('GET', KEYS[5]) or ''
local active = redis.call('HMGET', KEYS[1], 'term', 'grant', 'activation')
-- Whatever was restricted since: the grant is in force and a repeat of it changes nothing.
if active[2] == ARGV[4] then return {'SAME'} end
if redis.call('HEXISTS', KEYS[9], ARGV[15]) == 1 then return {'REFUSED', 'keyset', ARGV[15]} end
local revoked, used = redis.call('HGET', KEYS[3], 'epoch'), redis.call('GET', KEYS[4])
if revoked and not tonumber(revoked) then return {'REFUSED', 'corrupt', KEYS[3]} end
if used and not tonumber(used) then return {'REFUSED', 'corrupt', KEYS[4]} end
if revoked and tonumber(ARGV[3]) <= tonumber(revoked) then return {'REFUSED', 'revoked', revoked} end -- S2
if ARGV[1] == 'activate' and active[1] then return {'REFUSED', 'active', active[2]} end
if ARGV[1] == 'change' and not active[1] then return {'REFUSED', 'absent', ''} end
if ARGV[1] == 'change' and active[1] ~= ARGV[2] then return {'REFUSED', 'term', active[1]} end
if last ~= ARGV[6] then return {'CONFLICT', last} end
if used and tonumber(ARGV[3]) <= tonumber(used) then return {'REFUSED', 'used', used} end
local head = redis.call('GET', KEYS[6]) or string.rep('0', 64)
if head ~= ARGV[9] then return {'HEAD', head} end

-- A7: there is no rollback. So whatever may be refused below is tried here, on the same key, with what
-- stands there already: a right or a command that is missing ends the script before it changes anything.
redis.call('SET', KEYS[4], used or '', 'XX')
redis.call('SET', KEYS[5], last, 'XX')
redis.call('SET', KEYS[6], head, 'XX')
redis.call('SET', KEYS[8], ARGV[12], 'XX')
local keep, gone = {}, {}
if ARGV[1] == 'activate' then
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'term', ARGV[2], 'origin', ARGV[8])
else
  for i = 16, #ARGV do keep[ARGV[i]] = true end
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 'r:' and not keep[field] then gone[#gone + 1] = field end
  end
  redis.call('HDEL', KEYS[1], '')
  redis.call('HSET', KEYS[1], 'term', ARGV[2])
end
local executed = ARGV[13] ~= ''
local entry = {}
if executed then entry = redis.pcall('XADD', KEYS[7], '*', 'r', ARGV[13], 'h', ARGV[14]) end
if not bad(entry) then
  if executed then redis.call('SET', KEYS[6], ARGV[14]) end -- what stands there is its end, whatever follows
  entry = redis.pcall('XADD', KEYS[7], '*', 'r', ARGV[4], 'h', ARGV[10])
end
if bad(entry) then
  if ARGV[1] == 'activate' then redis.call('DEL', KEYS[1]) end
  return entry
end

redis.call('SET', KEYS[6], ARGV[10])
for _, field in ipairs(gone) do redis.call('HDEL', KEYS[1], field) end
redis.call('HSET', KEYS[1], 'grant', ARGV[4], 'epoch', ARGV[3], 'last', ARGV[5], 'set', ARGV[5])
-- It is of this grant alone, for heartbeats at the door.
if ARGV[1] == 'change' then redis.call('HDEL', KEYS[1], 'execution') end
if executed then redis.call('HSET', KEYS[1], 'execution', ARGV[13]) end
-- For people: who began this term, and why.
if ARGV[1] == 'change' and not active[3] then redis.call('HSET', KEYS[1], 'activation', active[2]) end
if ARGV[1] == 'activate' then redis.call('PEXPIRE', KEYS[1], ARGV[7]) end
redis.call('SET', KEYS[8], ARGV[12])
redis.call('SET', KEYS[4], ARGV[3])
redis.call('SET', KEYS[5], ARGV[5])
local push = redis.pcall('PUBLISH', ARGV[11], ARGV[4])
return {'OK', '', '', bad(push) or ''}
