-- Unlinks the hashes KEYS[2], ... that are not of the served build. Deletes the pointer, KEYS[1], if its build is not
-- whole.
local build, rows = unpack(redis.call('HMGET', KEYS[1], 'build', 'rows'))
if build and not is_whole(build, rows) then
    redis.call('DEL', KEYS[1])
    build = false
end
for i = 2, #KEYS do
    if not build or string.sub(KEYS[i], 1, #build + 1) ~= build .. ':' then
        redis.call('UNLINK', KEYS[i])
    end
end
