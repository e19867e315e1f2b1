"""What objects may be called."""

from __future__ import annotations

NAME_LENGTH_MAX = 128
_FORBIDDEN = frozenset("&|:\\\";/'#{}$<>\t\n\v\f\r")
_FORBIDDEN_IN_PASSWORD = frozenset(" \t\n\v\f\r")


def check_name(name: str, *, also_forbidden: str = "") -> str | None:
    """Why ``name`` cannot be an object's name, in OpenNebula's words; None when it can."""
    if not name:
        return "Invalid NAME, it cannot be empty"
    for character in name:
        if character in _FORBIDDEN or character in also_forbidden:
            return f"Invalid NAME, char '{character}' is not allowed"
    if len(name) > NAME_LENGTH_MAX:
        return f"Invalid NAME, max length is {NAME_LENGTH_MAX} chars."
    return None


def check_password(password: str) -> str | None:
    """Why ``password`` cannot be set, without repeating it; None when it can."""
    if not password:
        return "Invalid password, it cannot be empty"
    for character in password:
        if character in _FORBIDDEN_IN_PASSWORD:
            return f"Invalid password, character '{character}' is not allowed"
    return None
