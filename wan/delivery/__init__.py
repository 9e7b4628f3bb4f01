"""Values on their way to the market: what is due, and the document it travels in."""

from wan.delivery.dispatcher import Dispatcher
from wan.delivery.document import Column, Entry, ValueList, read_value_list, write_value_list
from wan.delivery.events import EventReport, event_document, event_target, read_event

__all__ = [
    "Column",
    "Dispatcher",
    "Entry",
    "EventReport",
    "ValueList",
    "event_document",
    "event_target",
    "read_event",
    "read_value_list",
    "write_value_list",
]
