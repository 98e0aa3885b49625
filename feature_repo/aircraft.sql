-- The aircraft's year of making and size, from the register.
-- look_back: 1 hour
select
    tailnum,
    cast(year as double) as year,
    cast(seats as double) as seats,
    cast(engines as double) as engines,
    available_at as event_timestamp,
    available_at as created_timestamp
from planes
where available_at > $start
