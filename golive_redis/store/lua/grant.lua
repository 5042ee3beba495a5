#!lua
-- Put a grant in force: activate, resume, restore, promote, extend. No audit, no loosening: the
-- ledger entry is written first, and everything is refused when it cannot be.
--
-- KEYS  1 active   2 beat   3 revoked   4 epoch   5 last   6 head   7 audit
-- ARGV  1 'activate' | 'change'   2 term   3 epoch   4 record   5 identity   6 identity of the
--       directive before, or ''   7 ttl_ms   8 origin (run id of this primary)   9 ledger head
--       before   10 ledger head after   11 events channel   12.. fields of restrictions to keep
-- Reply {'OK'} | {'SAME'} (this very grant is in force) | {'REFUSED', why, detail} |
--       {'CONFLICT', identity of the last directive} | {'HEAD', ledger head}
--       why: revoked | used | active | absent | term | corrupt
local kinds = {'hash', 'hash', 'hash', 'string', 'string', 'string', 'stream'}
for i, kind in ipairs(kinds) do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= 'none' and is ~= kind then return {'REFUSED', 'corrupt', KEYS[i]} end
end
local last = redis.call('GET', KEYS[5]) or ''
local active = redis.call('HMGET', KEYS[1], 'term', 'grant')
-- Whatever was restricted since: the grant is in force and a repeat of it changes nothing.
if active[2] == ARGV[4] then return {'SAME'} end
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

redis.call('XADD', KEYS[7], '*', 'r', ARGV[4], 'h', ARGV[10])
redis.call('SET', KEYS[6], ARGV[10])
if ARGV[1] == 'activate' then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'term', ARGV[2], 'origin', ARGV[8])
else
  local keep = {}
  for i = 12, #ARGV do keep[ARGV[i]] = true end
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 2) == 'r:' and not keep[field] then redis.call('HDEL', KEYS[1], field) end
  end
end
redis.call('HSET', KEYS[1], 'grant', ARGV[4], 'epoch', ARGV[3], 'last', ARGV[5], 'set', ARGV[5])
if ARGV[1] == 'activate' then redis.call('PEXPIRE', KEYS[1], ARGV[7]) end
redis.call('SET', KEYS[4], ARGV[3])
redis.call('SET', KEYS[5], ARGV[5])
redis.call('PUBLISH', ARGV[11], ARGV[4])
return {'OK'}
