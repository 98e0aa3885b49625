-- Where a customer lives, from the register.
-- look_back: 1 hour
select customer_id, x, y, available_at as event_timestamp, available_at as created_timestamp
from card_customers
where available_at > $start
