-- Arrivals from New York at the destination over the last hours and days, every hour.
-- look_back: 7 days
with ticks as (
    select unnest(generate_series(
        time_bucket(interval 1 hour, $start) - interval 7 days,
        $end,
        interval 1 hour
    )) as event_timestamp
),
-- A tick sums what became known since the tick before it.
buckets as (
    select
        dest,
        time_bucket(interval 1 hour, available_at - interval 1 microsecond)
            + interval 1 hour as event_timestamp,
        count(*) as n,
        sum(least(arrival_delay, 180)) as delay,
        sum(cast(arrival_delay >= 15 as integer)) as late
    from flights
    where arrival_delay is not null
    group by all
),
grid as (
    select g.dest, t.event_timestamp, b.n, b.delay, b.late
    from (select distinct dest from buckets) as g
    cross join ticks as t
    left join buckets as b on b.dest = g.dest and b.event_timestamp = t.event_timestamp
)
select
    dest,
    sum(delay) over last_6h / sum(n) over last_6h as mean_arrival_delay_6h,
    sum(late) over last_6h / sum(n) over last_6h as late_share_6h,
    sum(delay) over last_24h / sum(n) over last_24h as mean_arrival_delay_24h,
    sum(late) over last_24h / sum(n) over last_24h as late_share_24h,
    sum(delay) over last_7d / sum(n) over last_7d as mean_arrival_delay_7d,
    sum(late) over last_7d / sum(n) over last_7d as late_share_7d,
    event_timestamp,
    event_timestamp as created_timestamp
from grid
window
    last_6h as (partition by dest order by event_timestamp rows between 5 preceding and current row),
    last_24h as (partition by dest order by event_timestamp rows between 23 preceding and current row),
    last_7d as (partition by dest order by event_timestamp rows between 167 preceding and current row)
qualify event_timestamp > $start and event_timestamp <= $end and sum(n) over last_7d > 0
