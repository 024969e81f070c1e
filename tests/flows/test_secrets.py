"""Where secrets end up: in files that only their owner reads, and in no record that people look at."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.local.demo import register
from deployments.local.platform import LocalPlatform
from edge.errors import InvalidInput
from edge.model.device import DeviceState

DEVICE, SITE = "dev-0006", "site-0006"


def secrets_of(platform: Any) -> dict[str, bytes]:
    """What must not be found elsewhere: tokens, keys, and the middle of each private key."""
    lab = Path(platform.addresses.lab["state"])
    found = {
        "gateway token": platform.addresses.gateway_token_file.read_bytes().strip(),
        "Prefect's encryption key": (platform.home / "prefect-encryption-key").read_bytes().strip(),
        "lab's admin token": (lab / "admin.token").read_bytes().strip(),
        "identity header": platform.addresses.environment["IDENTITY_HEADER"].encode(),
    }
    for file in Path(platform.addresses.lab["kubeconfigs"]).glob("*.kubeconfig"):
        found[file.name] = yaml.safe_load(file.read_text())["users"][0]["user"]["token"].encode()
    for file in lab.rglob("*.key"):
        found[file.name] = file.read_bytes().splitlines()[1]
    assert all(len(secret) >= 16 for secret in found.values())
    return found


def files_with(secrets: dict[str, bytes], folder: Path) -> Iterator[tuple[Path, list[str]]]:
    for file in folder.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            names = [name for name, secret in secrets.items() if secret in content]
            if names:
                yield file, names


@pytest.fixture
def used(platform: Any, ledger: Any, until: Any) -> Any:
    """The platform after a device has come in, a stamp has gone out, and wrong credentials were shown."""
    entry = next(site for site in platform.addresses.lab["sites"] if site["device_id"] == DEVICE)
    register(platform.addresses, [entry])
    until(lambda: ledger.devices.get(DEVICE).state is DeviceState.CONNECTED, "the device has come in")
    done = platform.edge("stamp", "roll-out", "factory-line", "--site", SITE, "--json")
    assert done.returncode == 0, done.stderr
    return platform


def test_no_record_holds_a_secret(used: Any) -> None:
    secrets = secrets_of(used)
    records = [used.home / "prefect", used.home / "logs"]
    assert [found for folder in records for found in files_with(secrets, folder)] == []
    ledger = b"".join(file.read_bytes() for file in used.home.glob("ledger.db*"))
    assert [name for name, secret in secrets.items() if secret in ledger] == []


def test_files_with_secrets_belong_to_their_owner_alone(used: Any) -> None:
    found = dict(files_with(secrets_of(used), used.home))
    assert used.home / "platform.json" in found, "the search finds what is there"
    assert {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in found} == {
        file.name: "0o600" for file in found
    }


def test_commands_print_no_secret(used: Any) -> None:
    secrets = secrets_of(used)
    for command in ("site list", f"site show {SITE}", "device list", f"device show {DEVICE}", "rollout list"):
        said = used.edge(*command.split(), "--json")
        assert said.returncode == 0, said.stderr
        assert [name for name, secret in secrets.items() if secret.decode() in said.stdout + said.stderr] == []


def test_a_platform_with_wrong_weather_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    platform = LocalPlatform(tmp_path / "home")
    with pytest.raises(InvalidInput) as refused:
        platform.start(sites=1, scenario="no-such-weather")
    assert "no-such-weather" in refused.value.where["said"]
    assert json.loads(refused.value.where["said"])["code"] == "invalid-input"
    assert not (tmp_path / "home" / "ledger.db").exists()
