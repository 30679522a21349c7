"""Dates as the evidence writes them, wherever a list or form of the skin shows one."""

DATE_FORMAT = "Y-m-d"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "Y-m-d H:i e"
