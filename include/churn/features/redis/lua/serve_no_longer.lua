-- Removes the pointer, KEYS[1], if it names the build ARGV[1].
if redis.call('HGET', KEYS[1], 'build') == ARGV[1] then
    redis.call('DEL', KEYS[1])
end
return 'done'
