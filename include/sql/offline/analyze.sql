ANALYZE entities
