"""What was read → the files of a report, and the proof that no secret is in one. Pure.

Secrets are no part of a report. But a server could log what it must not, or someone may have put a
password into an annotation: so every value of the zone's Secrets is looked for in every file.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from onezone_operator import naming
from onezone_operator.models.observed import Manifest

__all__ = ["Cleaned", "build_files", "clean", "proof", "secret_values"]

SECRET_MIN = 6
"""Characters. Anything shorter occurs in texts by chance, and would be no secret."""

_LINE_MIN = 24
"""Characters of a line of a private key that are looked for by themselves."""

_REMOVED = b"[***]"
"""Shorter than any value, so that it can hold none."""


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Files without secrets.

    Attributes:
        removed: name of the file → how many values were taken out of it.
    """

    files: dict[str, bytes]
    removed: dict[str, int]


def build_files(
    *,
    summary: str,
    zone: Manifest,
    objects: Mapping[str, Sequence[Manifest]],
    statuses: Mapping[str, Any],
    logs: Mapping[str, bytes],
    missing: Mapping[str, str],
) -> dict[str, bytes]:
    """The files by name.

    Args:
        summary: what ``status`` shows.
        zone: the OneZone.
        objects: by kind; a Secret among them is refused.
        statuses: ``/status`` by server.
        logs: by server, or ``<server>.previous``.
        missing: what could not be read, and why.
    """
    files = {"summary.txt": f"{summary}\n".encode(), "onezone.yaml": _yaml(_without_noise(zone))}
    for kind, manifests in objects.items():
        if any(each.get("kind", kind) == "Secret" for each in manifests):
            raise ValueError("a report holds no Secrets")
        files[f"{kind.lower()}s.yaml"] = _yaml([_without_noise(each) for each in manifests])
    for server, status in statuses.items():
        files[f"status/{server}.json"] = json.dumps(status, indent=2, sort_keys=True).encode()
    for server, text in logs.items():
        files[f"logs/{server}.log"] = text
    if missing:
        lines = [f"{what}: {why}\n" for what, why in sorted(missing.items())]
        files["missing.txt"] = "".join(lines).encode()
    return files


def secret_values(secrets: Iterable[Manifest]) -> frozenset[bytes]:
    """Everything that must be in no file: values as they are, as base64, and line by line.

    Certificates are public. Of ``user:password`` the password counts by itself.
    """
    values: set[bytes] = set()
    for secret in secrets:
        for key, encoded in (secret.get("data") or {}).items():
            if key.endswith(".crt"):
                continue
            value = base64.b64decode(encoded).strip()
            values |= {value, encoded.strip().encode(), base64.b64encode(value)}
            if key == naming.AUTH_KEY:
                values.add(value.partition(b":")[2])
            lines = (line.strip() for line in value.splitlines())
            values |= {
                line for line in lines if len(line) >= _LINE_MIN and not line.startswith(b"-----")
            }
    return frozenset(value for value in values if len(value) >= SECRET_MIN)


def clean(files: Mapping[str, bytes], values: frozenset[bytes]) -> Cleaned:
    """Take every value out, and look again: a file that still holds one is emptied."""
    cleaned: dict[str, bytes] = {}
    removed: dict[str, int] = {}
    longest_first = sorted(values, key=len, reverse=True)
    for name, content in files.items():
        for value in longest_first:
            for form in _forms(value):
                count = content.count(form)
                if count:
                    content = content.replace(form, _REMOVED)  # noqa: PLW2901 - cleaned in turn
                    removed[name] = removed.get(name, 0) + count
        cleaned[name] = content
    for name, content in cleaned.items():
        # Taking one out can put another together.
        if any(form in content for value in values for form in _forms(value)):
            cleaned[name] = _REMOVED
    return Cleaned(cleaned, removed)


def proof(cleaned: Cleaned, secrets: int, *, is_blind: bool) -> str:
    """What was looked for, in a sentence."""
    files = len(cleaned.files)
    taken = sum(cleaned.removed.values())
    if is_blind:
        return (
            "Secrets are not in the report, but their values were not looked for in it: you may "
            "not read them. Look through the logs before you pass it on."
        )
    where = f" ({', '.join(sorted(cleaned.removed))})" if taken else ""
    return (
        f"The values of {secrets} Secrets were looked for in {files} files: "
        f"{taken} were taken out{where}, none is left."
    )


def _forms(value: bytes) -> tuple[bytes, ...]:
    """A value as text, and as JSON and YAML write it into a string."""
    escaped = json.dumps(value.decode(errors="replace"))[1:-1].encode()
    return (value,) if escaped == value else (value, escaped)


def _without_noise(manifest: Manifest) -> Manifest:
    metadata = {
        key: value for key, value in manifest.get("metadata", {}).items() if key != "managedFields"
    }
    return {**manifest, "metadata": metadata}


def _yaml(data: Any) -> bytes:
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000).encode()
