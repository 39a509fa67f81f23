"""Every answer of an API server becomes one class of error that names the cause."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gradatim.client import errors
from gradatim.client.errors import FieldCause, InvalidError, ThrottledError, from_response


def status(reason: str, code: int, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "reason": reason, "code": code, "message": f"{reason} it is"} | more).encode()


CASES: dict[str, tuple[int, bytes, type[errors.GradatimError], str]] = {
    "an object that is not there": (404, status("NotFound", 404), errors.NotFoundError, "NotFound it is"),
    "a name that is taken": (409, status("AlreadyExists", 409), errors.AlreadyExistsError, "AlreadyExists it is"),
    "a field of another owner": (409, status("Conflict", 409), errors.ConflictError, "Conflict it is"),
    "a missing right": (403, status("Forbidden", 403), errors.ForbiddenError, "Forbidden it is"),
    "refused credentials": (401, status("Unauthorized", 401), errors.UnauthorizedError, "Unauthorized it is"),
    "an expired version": (410, status("Expired", 410), errors.ExpiredError, "Expired it is"),
    "a server fault": (500, status("InternalError", 500), errors.ServerError, "InternalError it is"),
    "an answer that is not JSON": (502, b"<html>bad gateway</html>", errors.ServerError, "<html>bad gateway</html>"),
    "an empty answer": (503, b"", errors.ServerError, "the server answered 503 without a reason"),
    "a method that is not allowed": (
        405,
        status("MethodNotAllowed", 405),
        errors.UnsupportedError,
        "MethodNotAllowed it is",
    ),
    "a wrong request without causes": (400, status("BadRequest", 400), errors.InvalidError, "BadRequest it is"),
}


@pytest.mark.parametrize(("code", "body", "cls", "message"), CASES.values(), ids=CASES.keys())
def test_an_answer_becomes_its_error(code: int, body: bytes, cls: type[errors.GradatimError], message: str) -> None:
    error = from_response(code, {}, body)
    assert (type(error), str(error)) == (cls, message)


def test_wrong_fields_are_listed_once_without_the_notice_about_unchecked_rules() -> None:
    causes = [
        {"field": "spec.format", "message": "Unsupported value"},
        {"field": "spec.format", "message": "Unsupported value"},
        {"field": "<nil>", "message": "Invalid value: null: some validation rules were not checked because of others"},
    ]
    body = status("Invalid", 422, details={"kind": "Dataset", "name": "docs", "causes": causes})
    error = from_response(422, {}, body)
    assert isinstance(error, InvalidError)
    assert error.causes == (FieldCause("spec.format", "Unsupported value"),)
    assert str(error) == "Dataset docs is not valid\n  spec.format: Unsupported value"


def test_a_pattern_for_addresses_comes_with_an_address() -> None:
    causes = [{"field": "spec.source.path", "message": "Invalid value: \"docs\": should match '^file:///'"}]
    error = from_response(
        422, {}, status("Invalid", 422, details={"kind": "Dataset", "name": "docs", "causes": causes})
    )
    assert str(error).endswith("should match '^file:///': write an absolute address, such as file:///srv/handbook")


def test_an_unknown_field_of_a_server_side_apply_is_the_users_fault() -> None:
    message = (
        "failed to create typed patch object (ns/docs; gradatim.dev/v1alpha1, Kind=Dataset): errors:\n"
        "  .spec.sauce: field not declared in schema\n  .spec.dedup.exakt: field not declared in schema\n"
    )
    error = from_response(500, {}, json.dumps({"message": message, "code": 500}).encode())
    assert isinstance(error, InvalidError)
    assert error.causes == (FieldCause("spec.sauce", "unknown field"), FieldCause("spec.dedup.exakt", "unknown field"))


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"retry-after": "3"}, {}, 3.0),
        ({}, {"retryAfterSeconds": 5}, 5.0),
        ({"retry-after": "soon"}, {}, 1.0),
        ({"retry-after": "900"}, {}, 60.0),
    ],
    ids=["from the header", "from the status", "a date is not understood", "never more than a minute"],
)
def test_throttling_says_how_long_to_pause(headers: dict[str, str], details: dict[str, Any], seconds: float) -> None:
    error = from_response(429, headers, status("TooManyRequests", 429, details=details))
    assert isinstance(error, ThrottledError)
    assert error.retry_after == seconds
