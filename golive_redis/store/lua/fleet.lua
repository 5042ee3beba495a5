-- Read a page of the roster of workers. Whoever may register may plant a member of 512 MB, and to send it
-- would take longer than anybody waits. So one that is longer than any guard writes is cut to one byte
-- more than that, and struck where the caller may: the next page is read in time.
-- Without flags: it runs on a replica, too, and where memory is full.
--
-- KEYS  1 active, which is only there to name the slot
-- ARGV  1 namespace   2 first rank   3 last rank   4 bytes of the longest member
-- Reply {member...}
-- The roster is derived from the namespace: ACL demands read and write on every declared key.
local roster, longest = ARGV[1] .. ':fleet', tonumber(ARGV[4])
local page = redis.call('ZRANGE', roster, ARGV[2], ARGV[3])
for at, member in ipairs(page) do
  if #member > longest then
    page[at] = string.sub(member, 1, longest + 1)
    redis.pcall('ZREM', roster, member)
  end
end
return page
