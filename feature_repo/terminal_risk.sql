-- What was paid at a terminal and how much of it was reported as fraud, a row at each payment or report.
-- look_back: 28 days
with movements as (
    select terminal_id, available_at, cast(round(amount * 100) as bigint) as cents, null as reported
    from card_transactions
    union all
    select terminal_id, available_at, null, 1 from card_outcomes where fraud = 1
)
select
    terminal_id,
    cast(count(cents) over last_1d as double) as payments_1d,
    cast(count(cents) over last_7d as double) as payments_7d,
    cast(count(cents) over last_28d as double) as payments_28d,
    avg(cents) over last_28d / 100 as mean_amount_28d,
    cast(count(reported) over last_7d as double) as reports_7d,
    cast(count(reported) over last_28d as double) as reports_28d,
    available_at as event_timestamp,
    available_at as created_timestamp
from movements
window
    last_1d as (
        partition by terminal_id order by available_at range between interval 1 day preceding and current row
    ),
    last_7d as (
        partition by terminal_id order by available_at range between interval 7 days preceding and current row
    ),
    last_28d as (
        partition by terminal_id order by available_at range between interval 28 days preceding and current row
    )
qualify available_at > $start
    and row_number() over (partition by terminal_id, available_at order by cents nulls last, reported) = 1
