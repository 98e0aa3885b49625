-- Departures from the origin over the last hours and their delays, every 15 minutes.
-- look_back: 24 hours
with ticks as (
    select unnest(generate_series(
        time_bucket(interval 15 minutes, $start) - interval 24 hours,
        $end,
        interval 15 minutes
    )) as event_timestamp
),
-- A tick sums what became known since the tick before it.
buckets as (
    select
        origin,
        time_bucket(interval 15 minutes, available_at - interval 1 microsecond)
            + interval 15 minutes as event_timestamp,
        count(*) as n,
        sum(least(departure_delay, 180)) as delay,
        sum(cast(departure_delay >= 15 as integer)) as late
    from departures
    where departure_delay is not null
    group by all
),
grid as (
    select g.origin, t.event_timestamp, b.n, b.delay, b.late
    from (select distinct origin from buckets) as g
    cross join ticks as t
    left join buckets as b on b.origin = g.origin and b.event_timestamp = t.event_timestamp
)
select
    origin,
    cast(coalesce(sum(n) over last_1h, 0) as double) as departures_1h,
    sum(delay) over last_1h / sum(n) over last_1h as mean_departure_delay_1h,
    sum(late) over last_1h / sum(n) over last_1h as late_share_1h,
    cast(coalesce(sum(n) over last_3h, 0) as double) as departures_3h,
    sum(delay) over last_3h / sum(n) over last_3h as mean_departure_delay_3h,
    sum(late) over last_3h / sum(n) over last_3h as late_share_3h,
    cast(coalesce(sum(n) over last_24h, 0) as double) as departures_24h,
    sum(delay) over last_24h / sum(n) over last_24h as mean_departure_delay_24h,
    sum(late) over last_24h / sum(n) over last_24h as late_share_24h,
    event_timestamp,
    event_timestamp as created_timestamp
from grid
window
    last_1h as (partition by origin order by event_timestamp rows between 3 preceding and current row),
    last_3h as (partition by origin order by event_timestamp rows between 11 preceding and current row),
    last_24h as (partition by origin order by event_timestamp rows between 95 preceding and current row)
qualify event_timestamp > $start and event_timestamp <= $end and sum(n) over last_24h > 0
