"""One definition for every page that counts calls from their tallies."""

DENIED = "deny"
"""The decision of a call that counts as denied; one that needed a person, or whose answer was withheld, does not."""
