"""Frames between peers: what was said is what is heard, and noise is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oned.errors import PeerError
from oned.raft.messages import (
    AppendReply,
    AppendRequest,
    ReadIndexReply,
    ReadIndexRequest,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from oned.raft.types import Configuration, Entry, Member
from oned.transport import codec
from oned.transport.codec import Adopt, Hello

whole = st.integers(0, 2**62)
members = st.builds(
    Member, whole, st.text(), st.text(), st.text(), disk=st.text(), voter=st.booleans()
)
configurations = st.builds(Configuration, st.lists(members, max_size=3).map(tuple))
entries = st.builds(Entry, whole, whole, st.binary(), st.none() | configurations)
frames = st.one_of(
    st.builds(Hello, whole, st.text(), whole, st.text(), st.booleans()),
    st.builds(Adopt, st.text(), whole, whole, whole),
    st.builds(VoteRequest, whole, whole, whole, whole, whole, st.booleans(), st.booleans()),
    st.builds(VoteReply, whole, whole, whole, st.booleans(), st.booleans()),
    st.builds(
        AppendRequest,
        *[whole] * 5,
        st.lists(entries, max_size=3).map(tuple),
        whole,
        whole,
        whole,
    ),
    st.builds(AppendReply, whole, whole, whole, st.booleans(), *[whole] * 5),
    st.builds(TimeoutNow, whole, whole, whole),
    st.builds(ReadIndexRequest, *[whole] * 4),
    st.builds(ReadIndexReply, *[whole] * 5),
)


@given(frames)
def test_frame_survives_the_way(frame):
    assert codec.decode(codec.encode(frame)) == frame


@given(st.binary(max_size=200))
def test_noise_is_a_frame_or_refused(data):
    with contextlib.suppress(PeerError):
        codec.decode(data)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x00", b"\x02\x80"])
def test_malformed_frames_are_refused(data):
    with pytest.raises(PeerError):
        codec.decode(data)
