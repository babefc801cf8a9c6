SELECT {columns}
FROM (SELECT %(key)s::text AS key) AS keys
{views}
