"""Tell a Prefect server what it needs to know: blocks, work pools, limits, automations and deployments. Safe to repeat.

Run `python -m deployments.apply` with `PREFECT_API_URL` and the `EDGE_*` settings of the environment. A block that
exists already is left as it is, since somebody may have edited it, unless `--overwrite-blocks` is given.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
import yaml
from prefect.blocks.core import Block
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate, WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import get_current_settings
from prefect.workers.process import ProcessWorker

from blocks.admission import DeviceAdmission
from blocks.arc import ArcSubscription
from blocks.credentials import SiteCredentials
from blocks.gateway import GatewaySecret
from blocks.gitops import GitopsSource
from blocks.ledger import EdgeLedger
from blocks.load import server_fault
from blocks.policies import PolicyRules
from blocks.secrets import SecretSource
from edge.errors import EdgeError, InvalidInput, OperationFailed
from edge.settings import Settings

HERE = Path(__file__).parent
PREFECT_FILE = HERE.parent / "prefect.yaml"
BLOCKS = (
    EdgeLedger,
    SiteCredentials,
    SecretSource,
    PolicyRules,
    ArcSubscription,
    GitopsSource,
    GatewaySecret,
    DeviceAdmission,
)

BAD_OUTCOME, BAD_INPUT = 1, 2

log = logging.getLogger("deployments.apply")


def apply(settings: Settings, *, overwrite_blocks: bool = False) -> None:
    """Bring the server at `PREFECT_API_URL` to what this folder and `prefect.yaml` say.

    Raises InvalidInput without a server and for a setting that is wrong, and nothing is changed then; ServerFault when
    the server does not answer.
    """
    if get_current_settings().api.url is None:  # Prefect's client would start a server of its own, and end it again
        raise InvalidInput("No Prefect server is configured", field="PREFECT_API_URL")
    blocks = [kind.from_settings(settings) for kind in BLOCKS]
    try:
        with get_client(sync_client=True) as client:
            apply_blocks(blocks, overwrite=overwrite_blocks)
            apply_work_pools(client)
            apply_limits(client)
            apply_automations(client)
    except httpx.HTTPError as error:
        raise server_fault(error) from error
    apply_deployments()


def apply_blocks(blocks: Iterable[Block], *, overwrite: bool) -> None:
    """Register the block types and make the documents named `default` that are missing."""
    for block in blocks:
        block.register_type_and_schema()
        try:
            block.save("default", overwrite=overwrite)
        except ValueError:
            log.info("Block %s/default is there already", block.get_block_type_slug())


def apply_work_pools(client: SyncPrefectClient) -> None:
    """Create the work pools of `work_pools/`."""
    for said in _documents(HERE / "work_pools"):
        template = ProcessWorker.get_default_base_job_template() if said["type"] == "process" else {}
        pool = WorkPoolCreate(base_job_template=template, **said)
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            log.info("Work pool %s is there already", pool.name)


def apply_limits(client: SyncPrefectClient) -> None:
    """Create or set the global concurrency limits of `limits.yaml`."""
    for said in yaml.safe_load((HERE / "limits.yaml").read_text()):
        try:
            client.read_global_concurrency_limit_by_name(said["name"])
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(**said))
        else:
            client.update_global_concurrency_limit(said["name"], GlobalConcurrencyLimitUpdate(**said))


def apply_automations(client: SyncPrefectClient) -> None:
    """Create or replace the automations of `automations/`, which are known by their name."""
    for said in _documents(HERE / "automations"):
        automation = AutomationCore.model_validate(said)
        there = client.read_automations_by_name(automation.name)
        if there:
            client.update_automation(there[0].id, automation)
        else:
            client.create_automation(automation)


def apply_deployments() -> None:
    """Deploy everything in `prefect.yaml`, triggers and schedules included."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PREFECT_FILE.parent)  # noqa: S603 - our own
    if done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}"
        raise OperationFailed("`prefect deploy` failed", status=done.returncode, said=said)


def _documents(folder: Path) -> list[dict[str, Any]]:
    return [yaml.safe_load(file.read_text()) for file in sorted(folder.glob("*.yaml"))]


def main() -> None:
    """Entry point of `python -m deployments.apply`. Exit code 2 when the input is wrong, 1 when it did not work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--overwrite-blocks", action="store_true", help="replace blocks by what EDGE_* says")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        apply(Settings(), overwrite_blocks=arguments.overwrite_blocks)
    except EdgeError as error:
        log.error("%s: %s", error.code, error)
        sys.exit(BAD_INPUT if isinstance(error, InvalidInput) else BAD_OUTCOME)


if __name__ == "__main__":
    main()
