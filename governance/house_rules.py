"""What a rule of the house says when it forbids an act, whichever door the act came through."""


class RuleBroken(Exception):
    """`field` is the column that will not do, empty when it is about the whole; the message names the way out."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
