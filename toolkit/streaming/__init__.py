"""Records in, predictions out: in order, as soon as they can be had, in memory that does not grow."""

from toolkit.formats.records import INPUTS, Record, read_records
from toolkit.formats.sources import Source
from toolkit.streaming.engine import ResultWriter, Selection, Tally, classify
from toolkit.streaming.writers import NEW_FIELDS, OUTPUTS, NoWriter, Writer, make_writer

__all__ = [
    "INPUTS",
    "NEW_FIELDS",
    "OUTPUTS",
    "NoWriter",
    "Record",
    "ResultWriter",
    "Selection",
    "Source",
    "Tally",
    "Writer",
    "classify",
    "make_writer",
    "read_records",
]
