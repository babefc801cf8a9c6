-- The rows of some keys in some views of the build that the pointer, KEYS[1], names: its AS_OF, how its rows lie, and for
-- each view a row per key. ARGV: how many views, their names, the keys. Nothing where nothing is served, or its build is
-- not whole: a customer would lack what Redis has lost.
local build, as_of, columns, counts = unpack(redis.call('HMGET', KEYS[1], 'build', 'as_of', 'columns', 'rows'))
if not build or not is_whole(build, counts) then
    return {}
end
local answer = {as_of, columns}
local views = tonumber(ARGV[1])
for view = 2, views + 1 do
    local rows = {}
    -- Lua passes on some thousand arguments at once, and no more.
    for first = views + 2, #ARGV, 1000 do
        local found = redis.call('HMGET', build .. ':' .. ARGV[view], unpack(ARGV, first, math.min(first + 999, #ARGV)))
        for i = 1, #found do
            rows[#rows + 1] = found[i]
        end
    end
    answer[#answer + 1] = rows
end
return answer
