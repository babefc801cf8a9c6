SELECT {columns}, (SELECT build FROM online.served)
FROM (SELECT %(key)s::text AS key) AS keys
{views}
