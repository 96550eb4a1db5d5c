"""A pod that goes without a word is noticed by the others at once; one that says goodbye is not missed."""

import socket
import time

import pytest

from alignment_trainer.lifeline import Lifeline


@pytest.fixture
def ends():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = [Lifeline(index, "127.0.0.1", port) for index in range(3)]
    for end in (*made[1:], made[0]):
        end.poll()
    yield made
    for end in made:
        end.close(good=True)


def loses(end, seconds=0.5):
    deadline = time.monotonic() + seconds
    while not end.poll() and time.monotonic() < deadline:
        time.sleep(0.01)
    return end.lost


def test_as_long_as_all_live_nobody_is_lost(ends):
    assert not any(loses(end, 0.1) for end in ends)


@pytest.mark.parametrize("gone", [1, 2])
def test_the_first_pod_notices_another_that_goes(ends, gone):
    ends[gone].close(good=False)
    assert loses(ends[0])


def test_the_others_notice_the_first_that_goes(ends):
    ends[0].close(good=False)
    assert loses(ends[1])
    assert loses(ends[2])


@pytest.mark.parametrize("gone", [0, 1])
def test_a_goodbye_is_no_loss(ends, gone):
    ends[gone].close(good=True)
    assert not any(loses(end, 0.1) for end in ends if end is not ends[gone])


def test_without_anyone_to_connect_to_nothing_is_lost():
    assert not loses(Lifeline(1, "127.0.0.1", 1), 0.1)


def test_a_port_that_is_taken_harms_nothing():
    with socket.create_server(("", 0)) as taken:
        end = Lifeline(0, "", taken.getsockname()[1])
        assert not end.poll()
        end.close(good=True)
