"""What the Docker double refuses and takes for equal, without any engine."""

from __future__ import annotations

import pytest

from .provider_docker.schema import CONTAINER, UNKNOWN, Values
from .provider_docker.values import differences, duration_complaint, failures, go_cpus, go_duration

# As Go's time.Duration prints them.
CANONICAL = {
    0: "0s",
    1_500_000: "1.5ms",
    1_000_000_000: "1s",
    2_500_000_000: "2.5s",
    60_000_000_000: "1m0s",
    90_000_000_000: "1m30s",
    3_600_000_000_000: "1h0m0s",
}


@pytest.mark.parametrize(("nanos", "text"), CANONICAL.items())
def test_durations_are_written_as_go_writes_them(nanos: int, text: str) -> None:
    assert go_duration(nanos) == text
    assert duration_complaint(text) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [("90s", "1m30s"), ("60s", "1m0s"), ("1m", "1m0s"), ("5", "not a duration"), ("", "not a dur")],
)
def test_other_spellings_of_a_duration_are_refused(text: str, said: str) -> None:
    assert said in duration_complaint(text)


@pytest.mark.parametrize(
    ("values", "argument"),
    [
        ({"image": "a", "deviceCgroupRules": []}, "deviceCgroupRules"),
        ({"image": "a", "uploads": [{"file": "/a", "content": "b", "owner": "1"}]}, "owner"),
        ({}, "image"),
        ({"image": "a", "memory": "512"}, "memory"),
        ({"image": "a", "restart": "sometimes"}, "restart"),
        ({"image": "a", "healthcheck": {"interval": "60s"}}, "healthcheck.interval"),
        ({"image": "a", "uploads": [{"content": "b"}]}, "uploads[0].file"),
    ],
)
def test_what_the_plugin_would_refuse_is_refused_by_name(values: Values, argument: str) -> None:
    assert [at for at, _ in failures(CONTAINER, values) if argument in at]


def test_values_known_only_after_up_are_not_refused() -> None:
    assert not list(failures(CONTAINER, {"image": UNKNOWN, "memory": UNKNOWN, "ports": UNKNOWN}))


@pytest.mark.parametrize(
    ("nanos", "text"),
    [(500_000_000, "0.5"), (1_250_000_000, "1.25"), (2_000_000_000, "2.0"), (10**10, "10.")],
)
def test_a_number_of_cpus_is_read_back_with_its_decimals(nanos: int, text: str) -> None:
    assert go_cpus(nanos) == text


STATE: Values = {
    "image": "sha256:1",
    "name": "a",
    "envs": ["A=1", "B=2"],
    "memory": 512,
    "memorySwap": 512,
    "networkMode": "bridge",
    "ports": [{"internal": 80, "external": 32768, "ip": "127.0.0.1", "protocol": "tcp"}],
}


def after(**changes: object) -> dict[str, bool]:
    same: Values = {**STATE, "ports": [{"internal": 80, "ip": "127.0.0.1"}]}
    return differences(CONTAINER, STATE, {**same, **changes})


def test_the_same_arguments_do_not_differ() -> None:
    assert after() == {}


def test_the_order_of_a_set_makes_no_difference() -> None:
    assert after(envs=["B=2", "A=1"]) == {}


def test_leaving_out_an_argument_that_the_engine_fills_keeps_the_old_value() -> None:
    assert after(envs=None) == {}


def test_memory_changes_in_place_and_an_environment_replaces() -> None:
    assert after(memory=600, memorySwap=600) == {"memory": False, "memorySwap": False}
    assert after(envs=["A=2"]) == {"envs": True}


def test_memory_without_memory_swap_differs_for_ever() -> None:
    assert after(memorySwap=None) == {"memorySwap": False}


def test_a_port_opened_to_the_network_differs_from_one_on_loopback() -> None:
    assert after(ports=[{"internal": 80}]) == {"ports": True}
