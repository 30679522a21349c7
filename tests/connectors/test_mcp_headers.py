import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.inbound import decode_header_value, encode_header_value

from connectors.mcp_headers import InvalidAnnotation, decode_value, encode_value, header_lines, param_headers

TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "=?base64?eA==?=",
        "=?base64??=",
        "=?BASE64?eA==?=",
        " edge",
        "edge ",
        "tab\t",
        "a\r\nX: y",
        "",
        "plain",
        "ü",
    ]
)


@given(TEXT)
def test_header_values_survive_the_round_trip_and_are_plain_ascii(value: str) -> None:
    encoded = encode_value(value)
    assert decode_value(encoded) == value
    assert encoded.isascii()
    assert encoded.isprintable()
    assert encoded == encoded.strip()
    assert encoded


@given(TEXT)
def test_the_reference_sdk_reads_what_we_write_and_we_read_what_it_writes(value: str) -> None:
    assert decode_header_value(encode_value(value)) == value
    assert decode_value(encode_header_value(value)) == value


@pytest.mark.parametrize("forged", ["=?base64?eA?=", "=?base64?eB==?=", "=?base64?!!?=", "=?base64?/w==?="])
def test_values_that_are_not_canonical_base64_of_utf8_are_refused(forged: str) -> None:
    with pytest.raises(ValueError, match=r"base64|utf-8"):
        decode_value(forged)


def schema(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


REGION = {"type": "string", "x-mcp-header": "Region"}


def test_annotated_arguments_become_headers() -> None:
    headers = param_headers(
        schema(
            region=REGION,
            where=schema(row={"type": "integer", "x-mcp-header": "Row"}),
            dry={"type": "boolean", "x-mcp-header": "Dry"},
        )
    )
    arguments = {"region": "Kyōto", "where": {"row": 7}, "dry": False}
    assert header_lines(headers, arguments) == [
        ("Mcp-Param-Region", encode_value("Kyōto")),
        ("Mcp-Param-Row", "7"),
        ("Mcp-Param-Dry", "false"),
    ]
    assert header_lines(headers, {"region": None, "where": "elsewhere"}) == []


@pytest.mark.parametrize(
    "input_schema",
    [
        schema(a={"type": "number", "x-mcp-header": "A"}),
        schema(a={"type": ["string", "null"], "x-mcp-header": "A"}),
        schema(a={"type": "string", "x-mcp-header": ""}),
        schema(a={"type": "string", "x-mcp-header": "bad name"}),
        schema(a={"type": "string", "x-mcp-header": "A\r\nEvil: 1"}),
        schema(a={"type": "string", "x-mcp-header": 5}),
        schema(a=REGION, b={"type": "string", "x-mcp-header": "REGION"}),
        schema(a={"type": "array", "items": REGION}),
        schema(a={"anyOf": [REGION]}),
        {"type": "object", "$defs": {"r": REGION}, "properties": {"a": {"$ref": "#/$defs/r"}}},
        {"type": "object", "x-mcp-header": "Root"},
    ],
)
def test_forbidden_annotations_are_refused(input_schema: dict[str, object]) -> None:
    with pytest.raises(InvalidAnnotation):
        param_headers(input_schema)


def test_a_property_or_an_example_named_like_the_annotation_is_none() -> None:
    innocent = schema(**{"x-mcp-header": {"type": "string"}}, a={"const": {"x-mcp-header": "A"}, "type": "object"})
    assert param_headers(innocent) == ()


@pytest.mark.parametrize("odd", [None, True, [], "object", {"properties": []}, {"properties": {"a": True}}])
def test_schemas_of_the_wrong_shape_have_no_headers(odd: object) -> None:
    assert param_headers(odd) == ()
