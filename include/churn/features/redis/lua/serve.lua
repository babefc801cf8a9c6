-- Moves the pointer, KEYS[1], to the build ARGV[2] with the rows ARGV[3], if it still names the build ARGV[1] ('' for
-- none). The other ARGV are fields of the pointer: field, value, ...
local served = redis.call('HGET', KEYS[1], 'build') or ''
if served == ARGV[2] then
    return 'served' -- a repeated request whose first answer was lost
end
if served ~= ARGV[1] then
    return 'overtaken'
end
if not is_whole(ARGV[2], ARGV[3]) then
    return 'not whole'
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'build', ARGV[2], 'rows', ARGV[3], unpack(ARGV, 4))
return 'served'
