"""Secrets are in no report, whatever form they take."""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from onezone_operator.plugin.report import (
    SECRET_MIN,
    build_files,
    clean,
    proof,
    secret_values,
)

KEY = "-----BEGIN PRIVATE KEY-----\n" + "k" * 64 + "\n" + "e" * 40 + "\n-----END PRIVATE KEY-----\n"


def secret(**data):
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": encoded}


def build(**changes):
    content = {
        "summary": "all is well",
        "zone": {"kind": "OneZone", "metadata": {"name": "zone", "managedFields": [1]}},
        "objects": {},
        "statuses": {},
        "logs": {},
        "missing": {},
    }
    return build_files(**{**content, **changes})


def test_files_hold_what_was_read_and_no_noise():
    files = build(
        objects={"Pod": [{"metadata": {"name": "zone-0"}}]},
        statuses={"zone-0": {"term": 3}},
        logs={"zone-0": b"line\n"},
        missing={"Event": "forbidden"},
    )
    assert yaml.safe_load(files["onezone.yaml"]) == {
        "kind": "OneZone",
        "metadata": {"name": "zone"},
    }
    assert json.loads(files["status/zone-0.json"]) == {"term": 3}
    assert files["missing.txt"] == b"Event: forbidden\n"
    assert "pods.yaml" in files


def test_a_secret_among_the_objects_is_refused():
    with pytest.raises(ValueError, match="no Secrets"):
        build(objects={"Secret": [secret(password="swordfish")]})


def test_every_form_of_a_key_is_taken_out_and_certificates_stay():
    values = secret_values([{**secret(key=KEY), "data": {**secret(**{"a.key": KEY})["data"]}}])
    whole = json.dumps({"k": KEY}).encode()
    line = b"a line of it: " + b"k" * 64
    encoded = base64.b64encode(KEY.encode())
    cleaned = clean({"a": whole, "b": line, "c": encoded, "d": b"innocent"}, values)
    for name in ("a", "b", "c"):
        assert b"k" * 24 not in cleaned.files[name]
        assert encoded[:64] not in cleaned.files[name]
    assert cleaned.files["d"] == b"innocent"
    assert set(cleaned.removed) == {"a", "b", "c"}
    assert secret_values([secret(**{"ca.crt": KEY})]) == frozenset()


def test_a_password_counts_without_its_user():
    values = secret_values([secret(one_auth="oneadmin:swordfish")])
    assert b"swordfish" in values
    assert b"oneadmin" not in values


def test_the_proof_says_what_was_done():
    values = secret_values([secret(one_auth="oneadmin:swordfish")])
    cleaned = clean({"logs/a.log": b"swordfish swordfish"}, values)
    told = proof(cleaned, 1, is_blind=False)
    assert "2 were taken out (logs/a.log), none is left" in told
    assert "not looked for" in proof(cleaned, 0, is_blind=True)


@given(
    st.text(st.characters(codec="utf-8"), min_size=SECRET_MIN, max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
def test_no_text_around_a_secret_hides_it(value, before, after):
    values = secret_values([secret(password=value)])
    raw = (before + value + after).encode()
    for content in (raw, json.dumps(before + value + after).encode()):
        found = clean({"f": content}, values).files["f"]
        stripped = value.encode().strip()
        assert len(stripped) < SECRET_MIN or stripped not in found


def test_a_value_that_the_removal_of_another_puts_together():
    values = frozenset({b"swordfish", b"sword[***]"})
    assert clean({"f": b"swordswordfish"}, values).files["f"] == b"[***]"
