"""What features are looked up by."""

from feast import Entity
from feast.value_type import ValueType


def key(name: str, description: str) -> Entity:
    return Entity(name=name, join_keys=[name], value_type=ValueType.STRING, description=description)


carrier = key("carrier", "two-character airline code")
origin = key("origin", "airport a flight leaves from")
dest = key("dest", "airport a flight goes to")
tailnum = key("tailnum", "an aircraft's registration")
customer_id = key("customer_id", "who pays with a card")
terminal_id = key("terminal_id", "where a card is used")
