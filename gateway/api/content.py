"""What is looked for in content, beside what everybody has."""

from copy import copy
from typing import Any

from django.core.exceptions import ValidationError
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from gateway.api.fields import Choice, Flag, Parameters, Row, Strict, Text
from gateway.api.problems import Problem
from gateway.api.resource import Act, Changed, Created, Deleted, Listed, Retrieved
from gateway.api.serializers.named import Name
from governance.data_classes import stays_because
from governance.inspection.class_description import LONGEST_TEST, LONGEST_WORD, MOST_TESTS, MOST_WORDS, VALIDATORS
from governance.models import DataClass

SAID = ("patterns", "words", "validator", "context", "severity", "tests")


class ClassCase(Strict):
    text = Text(max_length=LONGEST_TEST)
    found = Flag(help_text="Whether the class has to be found in the text.")


class DataClassRow(Row):
    name = Name()
    patterns = serializers.ListField(
        child=Text(max_length=2_000), required=False, max_length=100, help_text="RE2; every repetition has an end."
    )
    words = serializers.ListField(
        child=Text(max_length=LONGEST_WORD), required=False, max_length=MOST_WORDS, help_text="Whole words, any case."
    )
    validator = Choice(choices=VALIDATORS, required=False, allow_blank=True)
    context = serializers.ListField(
        child=Text(max_length=LONGEST_WORD),
        required=False,
        max_length=100,
        help_text="One of these words has to stand near the value.",
    )
    severity = Choice(choices=DataClass.Severity.choices, required=False)
    tests = serializers.ListField(
        child=ClassCase(), required=False, max_length=MOST_TESTS, help_text="Must pass, or nothing is stored."
    )
    version = serializers.IntegerField(source="number", read_only=True)

    class Meta:
        model = DataClass
        fields = ("id", "name", "title", *SAID, "version")
        read_only_fields = ("id", "version")

    def validate(self, values: dict[str, Any]) -> dict[str, Any]:
        wanted = copy(self.instance) or DataClass()
        for name in SAID:
            setattr(wanted, name, values.get(name, getattr(wanted, name)))
        try:
            wanted.clean()
        except ValidationError as error:
            told = {field: [ErrorDetail(each, "rule") for each in said] for field, said in error.message_dict.items()}
            raise serializers.ValidationError(told) from None
        return values


class DataClassParameters(Parameters):
    name = Text(required=False, max_length=63)
    severity = Choice(choices=DataClass.Severity.choices, required=False)


class DataClasses(Listed, Retrieved, Created, Changed, Deleted):
    """Kinds of data described by pattern or by dictionary. Rules name one `data_class:NAME`."""

    queryset = DataClass.objects.all()
    serializer_class = DataClassRow
    parameters = DataClassParameters
    fixed = ("name",)

    def remove(self, row: DataClass, act: Act) -> None:
        if reason := stays_because(row):
            raise Problem("conflict", reason)
        row.delete()
