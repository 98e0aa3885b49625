-- Where a terminal stands, from the register.
-- look_back: 1 hour
select terminal_id, x, y, available_at as event_timestamp, available_at as created_timestamp
from card_terminals
where available_at > $start
