-- One row per payment whose truth is mature. A fraud may be reported early, but counts no sooner than an honest payment
-- of its day can: else the newest labels would all be frauds.
select
    customer_id, terminal_id, happened_at, amount,
    happened_at - $horizon as event_timestamp,
    greatest(available_at, happened_at + interval 28 days) as label_known_at,
    fraud as label
from card_outcomes
