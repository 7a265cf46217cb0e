"""Addresses, targets and upstreams as operators write them, and the refusals of those that nobody can use."""

import socket

import pytest

from services.chassis import addresses
from services.chassis.addresses import (
    MAX_ADDRESSES,
    Address,
    ListenPort,
    names_in,
    parse_address,
    parse_target,
    parse_upstreams,
    taken,
    unresolved,
)
from services.chassis.settings import EXIT_CONFIGURATION, CommonSettings, load, require_addresses
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("dns:///storage.kawaii.internal:50052", "dns:///storage.kawaii.internal:50052"),
        ("dns://10.0.0.2:53/storage:50052", "dns://10.0.0.2:53/storage:50052"),
        ("storage:50052", "dns:///storage:50052"),
        (" Storage_1:50052 ", "dns:///storage_1:50052"),
        ("ipv4:10.0.0.3:50052", "ipv4:10.0.0.3:50052"),
        ("10.0.0.3:50052", "ipv4:10.0.0.3:50052"),
        ("10.0.0.3:50052, 10.0.0.4:50053", "ipv4:10.0.0.3:50052,10.0.0.4:50053"),
        ("[::1]:50052,[fd00::2]:50052", "ipv6:[::1]:50052,[fd00::2]:50052"),
    ],
)
def test_a_target_is_a_name_or_addresses_of_replicas(text: str, target: str) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("storage", "host:port"),
        ("storage:0", "port from 1"),
        ("storage:65536", "port from 1"),
        ("storage:http", "port from 1"),
        ("http://storage:50052", "dns:///"),
        ("dns://storage:50052", "dns:///"),
        ("dns:///", "host:port"),
        ("::1:50052", "brackets"),
        ("[10.0.0.3]:50052", "brackets"),
        ("-x:1", "neither"),
        ("a b:1", "neither"),
        ("10.0.0.300:1", "neither"),
        ("10.0.0.3:1,", "host:port"),
        ("10.0.0.3:1,10.0.0.3:1", "twice"),
        ("10.0.0.3:1,[::1]:1", "one version"),
        ("a:1,b:1", "one DNS name"),
        (",".join(f"10.0.0.3:{port}" for port in range(1, MAX_ADDRESSES + 2)), "more than"),
    ],
)
def test_a_target_that_cannot_be_read_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_target(text)


def test_upstreams_may_mix_names_and_addresses() -> None:
    assert parse_upstreams("gateway-1:8000,10.0.0.3:8000,[::1]:8000") == (
        Address("gateway-1", 8000),
        Address("10.0.0.3", 8000),
        Address("::1", 8000),
    )
    assert parse_upstreams(" ") == ()


def test_addresses_are_written_as_urls_take_them() -> None:
    assert [str(parse_address(text)) for text in ("[::1]:80", "10.0.0.3:80", "a.b:80")] == [
        "[::1]:80",
        "10.0.0.3:80",
        "a.b:80",
    ]


def test_only_names_are_looked_up() -> None:
    assert names_in("ipv4:10.0.0.3:1") == names_in("dns://10.0.0.2:53/storage:1") == ()
    assert names_in("dns:///storage:1") == (Address("storage", 1),)


def test_a_name_that_does_not_exist_is_found_out() -> None:
    assert unresolved([Address("localhost", 1)]) == ""
    assert unresolved([Address("localhost", 1), Address("nobody.invalid", 1)]) == "nobody.invalid"


def test_a_port_is_taken_while_another_listens_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "TAKEN_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert taken("127.0.0.1", port) == "address already in use"
    assert taken("127.0.0.1", port) == ""


def test_an_address_of_another_machine_cannot_be_listened_at() -> None:
    assert taken("192.0.2.1", 8000) == "cannot assign requested address"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("STORAGE_TARGET", "storage"), ("LISTEN_HOST", "storage"), ("LISTEN_PORT", "0"), ("METRICS_PORT", "x")],
)
def test_a_wrong_address_is_named_by_its_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: str, value: str
) -> None:
    monkeypatch.setenv(setting, value)

    with pytest.raises(SystemExit) as refusal:
        load(CommonSettings)

    assert refusal.value.code == EXIT_CONFIGURATION
    assert f"  {setting}: " in capsys.readouterr().err


def test_settings_of_a_process_alone_win_over_those_of_a_whole_stack() -> None:
    stack = CommonSettings(internal_port_base=40_000)
    alone = CommonSettings(
        internal_port_base=40_000, listen_host="::1", listen_port=1, files_port=2, metrics_port=3, share_target="s:4"
    )
    listeners = (ListenPort.STORAGE, ListenPort.FILES, ListenPort.STORAGE_METRICS)

    assert [str(stack.listens(each)) for each in listeners] == ["127.0.0.1:40002", "127.0.0.1:40005", "127.0.0.1:40012"]
    assert [str(alone.listens(each)) for each in listeners] == ["[::1]:1", "[::1]:2", "[::1]:3"]
    assert (stack.target("share"), alone.target("share")) == ("ipv4:127.0.0.1:40003", "dns:///s:4")


def test_a_start_refuses_a_taken_port_and_an_unknown_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(addresses, "TAKEN_SECONDS", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = CommonSettings(metrics_port=other.getsockname()[1])
        with pytest.raises(SystemExit) as taken_port:
            require_addresses(settings, [ListenPort.SHARE_METRICS])
    settings = CommonSettings(listen_port=free_port(), storage_target="nobody.invalid:1")
    with pytest.raises(SystemExit) as unknown:
        require_addresses(settings, [ListenPort.SHARE], ["storage"])

    assert taken_port.value.code == unknown.value.code == EXIT_CONFIGURATION
    said = capsys.readouterr().err
    assert "METRICS_PORT: nothing can listen at 127.0.0.1:" in said
    assert "STORAGE_TARGET: there is no host nobody.invalid." in said
