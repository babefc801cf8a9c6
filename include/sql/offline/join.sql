SELECT entities.*, {features}
FROM entities
{views}
