-- A carrier's departures from the origin over the last hours and week, every hour.
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
        origin, carrier,
        time_bucket(interval 1 hour, available_at - interval 1 microsecond)
            + interval 1 hour as event_timestamp,
        count(*) as n,
        sum(least(departure_delay, 180)) as delay,
        sum(cast(departure_delay >= 15 as integer)) as late
    from departures
    where departure_delay is not null
    group by all
),
grid as (
    select g.origin, g.carrier, t.event_timestamp, b.n, b.delay, b.late
    from (select distinct origin, carrier from buckets) as g
    cross join ticks as t
    left join buckets as b on b.origin = g.origin and b.carrier = g.carrier and b.event_timestamp = t.event_timestamp
)
select
    origin, carrier,
    sum(delay) over last_3h / sum(n) over last_3h as mean_departure_delay_3h,
    sum(late) over last_3h / sum(n) over last_3h as late_share_3h,
    sum(delay) over last_24h / sum(n) over last_24h as mean_departure_delay_24h,
    sum(late) over last_24h / sum(n) over last_24h as late_share_24h,
    sum(delay) over last_7d / sum(n) over last_7d as mean_departure_delay_7d,
    sum(late) over last_7d / sum(n) over last_7d as late_share_7d,
    event_timestamp,
    event_timestamp as created_timestamp
from grid
window
    last_3h as (partition by origin, carrier order by event_timestamp rows between 2 preceding and current row),
    last_24h as (partition by origin, carrier order by event_timestamp rows between 23 preceding and current row),
    last_7d as (partition by origin, carrier order by event_timestamp rows between 167 preceding and current row)
qualify event_timestamp > $start and event_timestamp <= $end and sum(n) over last_7d > 0
