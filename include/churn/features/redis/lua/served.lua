-- Returns the fields of the pointer, KEYS[1]: field, value, ...; nothing if its build is not whole, as after an eviction.
local build, rows = unpack(redis.call('HMGET', KEYS[1], 'build', 'rows'))
if not build or not is_whole(build, rows) then
    return {}
end
return redis.call('HGETALL', KEYS[1])
