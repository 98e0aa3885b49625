-- How late the aircraft left New York and arrived, a row at each departure or arrival.
-- look_back: 12 hours
with movements as (
    select tailnum, available_at, departure_delay as left_late, null as arrived_late from departures
    union all
    select tailnum, available_at, null, arrival_delay from flights where arrival_delay is not null
),
-- Of nothing and 180 the least is 180: an arrival would count as a departure three hours late.
capped as (
    select *,
        case when left_late > 180 then 180 else left_late end as left_capped,
        case when arrived_late > 180 then 180 else arrived_late end as arrived_capped
    from movements
)
select
    tailnum,
    avg(left_capped) over half_day as mean_departure_delay_12h,
    cast(count(left_late) over half_day as double) as departures_12h,
    avg(arrived_capped) over half_day as mean_arrival_delay_12h,
    cast(coalesce(arrived_late, left_late) as double) as last_delay,
    available_at as event_timestamp,
    available_at as created_timestamp
from capped
where tailnum is not null
window half_day as (
    partition by tailnum order by available_at range between interval 12 hours preceding and current row
)
qualify available_at > $start
    and row_number() over (partition by tailnum, available_at order by arrived_late nulls last, left_late) = 1
