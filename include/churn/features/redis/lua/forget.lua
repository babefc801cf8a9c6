-- Removes the customers ARGV[2], ... from the hashes KEYS[2], ..., and lets the pointer, KEYS[1], say how many rows its
-- build has left, and that its drop has the digest ARGV[1] ('' leaves it). Returns the number of removed rows.
local removed = 0
for i = 2, #KEYS do
    removed = removed + redis.call('HDEL', KEYS[i], unpack(ARGV, 2))
end
local build, rows = unpack(redis.call('HMGET', KEYS[1], 'build', 'rows'))
if build then
    local left = {}
    for view in pairs(cjson.decode(rows)) do
        left[view] = redis.call('HLEN', build .. ':' .. view)
    end
    redis.call('HSET', KEYS[1], 'rows', cjson.encode(left))
    if ARGV[1] ~= '' then
        redis.call('HSET', KEYS[1], 'drop_digest', ARGV[1])
    end
end
return removed
