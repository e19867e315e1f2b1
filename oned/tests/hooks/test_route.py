"""The fence around a zone's EndpointSlice: decided in pure code, so tried in every order."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oned.errors import HookError
from oned.hooks.route import (
    LEADER_ANNOTATION,
    TERM_ANNOTATION,
    Keep,
    Me,
    Write,
    Yield,
    decide,
    decide_release,
    term_of,
)


def me(number=0, **changes):
    facts = {
        "name": f"zone-{number}",
        "address": f"10.0.0.{number + 1}",
        "pod": f"zone-{number}",
        "namespace": "one",
        "node": f"worker-{number}",
        "port": 2633,
    }
    return Me(**(facts | changes))


def empty(**annotations):
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "zone-leader",
            "resourceVersion": "1",
            "labels": {"kubernetes.io/service-name": "zone"},
            **({"annotations": annotations} if annotations else {}),
            "managedFields": [{"manager": "onezone-operator"}],
        },
        "addressType": "IPv4",
        "endpoints": None,
        "ports": None,
    }


def fence(term, leader):
    return {TERM_ANNOTATION: str(term), LEADER_ANNOTATION: leader}


def written(term, number=0):
    decision = decide(empty(), term=term, me=me(number))
    assert isinstance(decision, Write)
    return decision.slice


def test_first_leader_takes_an_empty_slice():
    body = written(3)
    assert body["endpoints"] == [
        {
            "addresses": ["10.0.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "worker-0",
            "targetRef": {"kind": "Pod", "namespace": "one", "name": "zone-0"},
        }
    ]
    assert body["ports"] == [{"name": "api", "port": 2633, "protocol": "TCP"}]
    assert body["metadata"]["annotations"] == fence(3, "zone-0")
    assert body["metadata"]["resourceVersion"] == "1"
    assert body["metadata"]["labels"] == {"kubernetes.io/service-name": "zone"}
    assert "managedFields" not in body["metadata"]


def test_what_was_written_is_kept():
    assert decide(written(3), term=3, me=me()) == Keep()


def test_fields_added_by_others_are_no_difference():
    body = written(3)
    body["endpoints"][0]["zone"] = "a"
    body["ports"][0]["appProtocol"] = None
    body["metadata"]["annotations"]["note"] = "mine"
    assert decide(body, term=3, me=me()) == Keep()


def test_other_annotations_stay():
    decision = decide(empty(note="mine"), term=3, me=me())
    assert decision.slice["metadata"]["annotations"] == {"note": "mine"} | fence(3, "zone-0")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda body: body.update(endpoints=[]),
        lambda body: body["endpoints"].append({"addresses": ["10.0.0.9"]}),
        lambda body: body["endpoints"][0].update(addresses=["10.0.0.9"]),
        lambda body: body["endpoints"][0]["conditions"].update(ready=False),
        lambda body: body.update(ports=None),
        lambda body: body["metadata"]["annotations"].pop(LEADER_ANNOTATION),
        lambda body: body["metadata"].update(annotations=None),
    ],
)
def test_a_foreign_hand_is_repaired(spoil):
    body = written(3)
    spoil(body)
    decision = decide(body, term=3, me=me())
    assert isinstance(decision, Write)
    assert decide(decision.slice, term=3, me=me()) == Keep()


def test_later_term_is_never_overwritten():
    assert decide(written(4, 1), term=3, me=me()) == Yield(4, "zone-1")


def test_later_term_of_the_same_server_is_not_either():
    """A hook of this server's earlier leadership that was held up."""
    assert decide(written(4), term=3, me=me()) == Yield(4, "zone-0")


def test_equal_term_must_be_the_same_server():
    assert decide(written(3, 1), term=3, me=me()) == Yield(3, "zone-1")


def test_earlier_term_is_replaced():
    assert isinstance(decide(written(2, 1), term=3, me=me()), Write)


@pytest.mark.parametrize("text", ["", "x", "-1", "3.0", "٣", "9" * 20])
def test_a_term_that_cannot_be_read_does_not_block_the_route(text):
    body = empty(**fence(0, "zone-1"))
    body["metadata"]["annotations"][TERM_ANNOTATION] = text
    assert isinstance(decide(body, term=1, me=me()), Write)


def test_wrong_address_family_is_said():
    with pytest.raises(HookError, match="addressType IPv4"):
        decide(empty(), term=1, me=me(address="fd00::1"))


def test_input_is_not_changed():
    before = empty(note="mine")
    copied = copy.deepcopy(before)
    decide(before, term=1, me=me())
    assert before == copied


def test_release_takes_only_itself_out():
    decision = decide_release(written(3), term=3, me=me())
    assert decision.slice["endpoints"] == []
    assert term_of(decision.slice) == 3
    assert isinstance(decide(decision.slice, term=2, me=me(1)), Yield)
    assert isinstance(decide(decision.slice, term=4, me=me(1)), Write)


@pytest.mark.parametrize(
    "body",
    [
        written(4, 1),
        written(3, 1),
        written(2),
        empty(),
        {**written(3), "endpoints": []},
        {**written(3), "endpoints": [{"addresses": ["10.0.0.9"]}]},
    ],
)
def test_release_leaves_everything_else_alone(body):
    assert decide_release(body, term=3, me=me()) == Keep()


class Model:
    """An API server's slice: a write over another version than the current one is refused."""

    def __init__(self):
        self.body = empty()
        self.terms = [-1]

    def put(self, body):
        if body["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            return False
        version = int(self.body["metadata"]["resourceVersion"])
        self.body = copy.deepcopy(body)
        self.body["metadata"]["resourceVersion"] = str(version + 1)
        self.terms.append(term_of(self.body))
        return True


class Writer:
    """A leader's hook at the granularity at which others can come between: read, then write."""

    def __init__(self, model, number, term):
        self.model, self.me, self.term = model, me(number), term
        self.pending = None

    def read(self):
        self.pending = decide(copy.deepcopy(self.model.body), term=self.term, me=self.me)

    def read_to_release(self):
        self.pending = decide_release(copy.deepcopy(self.model.body), term=self.term, me=self.me)

    def write(self):
        pending, self.pending = self.pending, None
        if isinstance(pending, Write):
            self.model.put(pending.slice)


steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["read", "read_to_release", "write"])),
    max_size=40,
)
leaders = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=3, max_size=3).filter(
    # Election safety: one leader a term.
    lambda pairs: len({term for _, term in pairs}) == len(set(pairs))
)


@given(leaders, steps)
def test_the_term_never_goes_back_in_any_order(pairs, order):
    model = Model()
    writers = [Writer(model, number, term) for number, term in pairs]
    for which, action in order:
        getattr(writers[which], action)()
    assert model.terms == sorted(model.terms)

    # And once the newest leader gets one undisturbed round, the route is its, whatever was held up.
    newest = max(writers, key=lambda writer: writer.term)
    held_up = [writer for writer in writers if writer.term < newest.term]
    newest.read()
    newest.write()
    for writer in held_up:
        writer.write()
        writer.read()
        writer.write()
        writer.read_to_release()
        writer.write()
    assert model.body["endpoints"] == [newest.me.endpoint()]
    assert model.terms == sorted(model.terms)
