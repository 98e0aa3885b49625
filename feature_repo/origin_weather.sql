-- The last full hour of weather at the origin.
-- look_back: 12 hours
select
    origin, temp, dewp, humid, wind_dir, wind_speed, wind_gust, precip, pressure, visib,
    sum(precip) over six_hours as precip_6h,
    min(visib) over six_hours as visib_min_6h,
    available_at as event_timestamp,
    available_at as created_timestamp
from weather
window six_hours as (
    partition by origin order by available_at range between interval 5 hours preceding and current row
)
qualify available_at > $start
