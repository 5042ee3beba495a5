#!lua flags=allow-oom
-- Take a silent worker off the roster and keep the signed word that it is dead, in one step: one that
-- reads before this has a presence, and one that reads after it is on the roster again (A5).
--
-- KEYS  1 where its goodbye would be
-- ARGV  1 namespace   2 its roster member   3 the signed word   4 how long that is kept, in ms
-- Reply 1, or 0 when it has been heard: then nothing is changed.
-- Siblings are derived from the namespace: ACL demands read and write on every declared key.
if redis.call('PTTL', ARGV[1] .. ':worker:' .. ARGV[2]) ~= -2 then return 0 end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
redis.call('ZREM', ARGV[1] .. ':fleet', ARGV[2])
return 1
