-- Tells whether each view of a build has as many rows as it was published with. Prepended to every script.
local function is_whole(build, rows)
    for view, count in pairs(cjson.decode(rows)) do
        if redis.call('HLEN', build .. ':' .. view) ~= count then
            return false
        end
    end
    return true
end
