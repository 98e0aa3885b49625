-- One row per flight with an outcome: what is asked, when it is asked, the answer and when it was known.
select
    carrier, origin, dest, tailnum,
    scheduled_departure, scheduled_arrival, distance,
    scheduled_departure - $horizon as event_timestamp,
    available_at as label_known_at,
    cast(arrival_delay >= 15 as integer) as label
from flights
where arrival_delay is not null
