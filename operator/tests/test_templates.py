"""An upgrade of the operator restarts no server: the pod's template is what it was.

``data/templates.yaml`` holds digests of the template of some specs for each version of it, and why
it became another. An operator that renders anything else would roll every zone of every user, so a
new one takes an entry, with the reason that goes into the release notes.

The image is no part of this: where a OneZone names none it is the operator's setting, and zones
that must not follow it name theirs.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from operator_facts import build_zone
from test_resources import SPECS

from onezone_operator.resources.metadata import digest
from onezone_operator.resources.pod import build_pod_template

HISTORY = Path(__file__).parent / "data" / "templates.yaml"


def present() -> dict[str, str]:
    return {name: digest(build_pod_template(build_zone(**spec))) for name, spec in SPECS.items()}


def test_the_template_is_the_one_of_the_last_entry():
    history = yaml.safe_load(HISTORY.read_text())
    now = present()
    if os.environ.get("ONEZONE_REWRITE") and history[-1]["templates"] != now:
        history.append({"why": "", "templates": now})
        HISTORY.write_text(yaml.safe_dump(history, sort_keys=False))
    assert history[-1]["templates"] == now, (
        "every server of every zone would be restarted by an upgrade of the operator; if that must "
        f"be, run this with ONEZONE_REWRITE=1 and write into {HISTORY.name} why"
    )


def test_every_entry_has_a_reason():
    history = yaml.safe_load(HISTORY.read_text())
    assert all(each["why"].strip() for each in history)


def test_what_is_no_part_of_the_pod_does_not_change_its_template():
    """Sizes, addresses and policies are changed without a restart."""
    plain = build_pod_template(build_zone())
    for spec in (
        {"replicas": 5},
        {"endpoint": {"type": "LoadBalancer"}},
        {"paused": True},
        {"hibernated": True},
    ):
        assert build_pod_template(build_zone(**spec)) == plain
