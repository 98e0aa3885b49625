-- What a customer paid and how much of it was reported as fraud, a row at each payment or report.
-- look_back: 30 days
with movements as (
    select customer_id, available_at, cast(round(amount * 100) as bigint) as cents, null as reported
    from card_transactions
    union all
    select customer_id, available_at, null, 1 from card_outcomes where fraud = 1
)
select
    customer_id,
    cast(count(cents) over last_1d as double) as payments_1d,
    cast(count(cents) over last_7d as double) as payments_7d,
    cast(count(cents) over last_30d as double) as payments_30d,
    avg(cents) over last_1d / 100 as mean_amount_1d,
    avg(cents) over last_7d / 100 as mean_amount_7d,
    avg(cents) over last_30d / 100 as mean_amount_30d,
    cast(max(cents) over last_7d as double) / 100 as max_amount_7d,
    cast(count(reported) over last_30d as double) as reports_30d,
    available_at as event_timestamp,
    available_at as created_timestamp
from movements
window
    last_1d as (
        partition by customer_id order by available_at range between interval 1 day preceding and current row
    ),
    last_7d as (
        partition by customer_id order by available_at range between interval 7 days preceding and current row
    ),
    last_30d as (
        partition by customer_id order by available_at range between interval 30 days preceding and current row
    )
qualify available_at > $start
    and row_number() over (partition by customer_id, available_at order by cents nulls last, reported) = 1
