CREATE TEMPORARY TABLE drop_customers (
    file    text   NOT NULL,
    line    bigint NOT NULL,
    user_id text   NOT NULL,
    as_of   date   NOT NULL,
    folded  text
) ON COMMIT DROP
