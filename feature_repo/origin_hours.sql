-- The hour of the clock that begins three hours after the tick, as it was at the origin on the seven days before.
-- look_back: 7 days
with ticks as (
    select unnest(generate_series(
        time_bucket(interval 1 hour, $start) - interval 7 days,
        $end,
        interval 1 hour
    )) as event_timestamp
),
-- An hour is first spoken of 21 hours after it began. What was known of its flights by then is what counts of it.
hours as (
    select
        origin,
        time_bucket(interval 1 hour, scheduled_departure) + interval 21 hours as event_timestamp,
        count(*) as n,
        sum(least(departure_delay, 180)) as delay,
        sum(cast(departure_delay >= 15 as integer)) as late
    from departures
    where departure_delay is not null
        and available_at <= time_bucket(interval 1 hour, scheduled_departure) + interval 21 hours
    group by all
),
grid as (
    select g.origin, t.event_timestamp, hour(t.event_timestamp) as clock, h.n, h.delay, h.late
    from (select distinct origin from hours) as g
    cross join ticks as t
    left join hours as h on h.origin = g.origin and h.event_timestamp = t.event_timestamp
)
select
    origin,
    cast(coalesce(n, 0) as double) as departures_yesterday,
    delay / n as mean_departure_delay_yesterday,
    cast(coalesce(sum(n) over week_ago, 0) as double) as departures_week_ago,
    sum(delay) over week_ago / sum(n) over week_ago as mean_departure_delay_week_ago,
    cast(sum(n) over last_7d as double) as departures_7d,
    sum(delay) over last_7d / sum(n) over last_7d as mean_departure_delay_7d,
    sum(late) over last_7d / sum(n) over last_7d as late_share_7d,
    event_timestamp,
    event_timestamp as created_timestamp
from grid
window
    week_ago as (partition by origin, clock order by event_timestamp rows between 6 preceding and 6 preceding),
    last_7d as (partition by origin, clock order by event_timestamp rows between 6 preceding and current row)
qualify event_timestamp > $start and event_timestamp <= $end and sum(n) over last_7d > 0
