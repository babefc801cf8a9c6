SELECT {columns}, (SELECT build FROM online.served)
FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS keys (key, position)
{views}
ORDER BY keys.position
