-- A carrier's arrivals over days, every six hours.
-- look_back: 7 days
with ticks as (
    select unnest(generate_series(
        time_bucket(interval 6 hours, $start) - interval 7 days,
        $end,
        interval 6 hours
    )) as event_timestamp
),
-- A tick sums what became known since the tick before it.
buckets as (
    select
        carrier,
        time_bucket(interval 6 hours, available_at - interval 1 microsecond)
            + interval 6 hours as event_timestamp,
        count(*) as n,
        sum(least(arrival_delay, 180)) as delay,
        sum(cast(arrival_delay >= 15 as integer)) as late
    from flights
    where arrival_delay is not null
    group by all
),
grid as (
    select g.carrier, t.event_timestamp, b.n, b.delay, b.late
    from (select distinct carrier from buckets) as g
    cross join ticks as t
    left join buckets as b on b.carrier = g.carrier and b.event_timestamp = t.event_timestamp
)
select
    carrier,
    sum(delay) over last_1d / sum(n) over last_1d as mean_arrival_delay_1d,
    sum(late) over last_1d / sum(n) over last_1d as late_share_1d,
    sum(delay) over last_7d / sum(n) over last_7d as mean_arrival_delay_7d,
    sum(late) over last_7d / sum(n) over last_7d as late_share_7d,
    event_timestamp,
    event_timestamp as created_timestamp
from grid
window
    last_1d as (partition by carrier order by event_timestamp rows between 3 preceding and current row),
    last_7d as (partition by carrier order by event_timestamp rows between 27 preceding and current row)
qualify event_timestamp > $start and event_timestamp <= $end and sum(n) over last_7d > 0
