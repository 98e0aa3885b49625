-- One row per airport and hour in which flights were planned, of those that left. Its truth is known a day after the
-- hour began, when the last of them has left (in 2013 after 21 h 41 min), and later where a row of it was known later.
with hours as (
    select
        origin,
        time_bucket(interval 1 hour, scheduled_departure) as hour,
        avg(least(departure_delay, 180)) as label,
        max(available_at) as last_known_at
    from departures
    group by all
)
select
    origin,
    hour,
    hour - $horizon as event_timestamp,
    greatest(hour + interval 24 hours, last_known_at) as label_known_at,
    label
from hours
