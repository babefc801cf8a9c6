-- Reads rows of the served build. KEYS[1]: the pointer. ARGV: number of views, their names, the keys. Returns the AS_OF,
-- the columns, and for each view a row per key; nothing if no build is served or the served build is not whole.
local build, as_of, columns, counts = unpack(redis.call('HMGET', KEYS[1], 'build', 'as_of', 'columns', 'rows'))
if not build or not is_whole(build, counts) then
    return {}
end
local answer = {as_of, columns}
local views = tonumber(ARGV[1])
for view = 2, views + 1 do
    local rows = {}
    -- unpack() passes only a few thousand arguments at once.
    for first = views + 2, #ARGV, 1000 do
        local found = redis.call('HMGET', build .. ':' .. ARGV[view], unpack(ARGV, first, math.min(first + 999, #ARGV)))
        for i = 1, #found do
            rows[#rows + 1] = found[i]
        end
    end
    answer[#answer + 1] = rows
end
return answer
