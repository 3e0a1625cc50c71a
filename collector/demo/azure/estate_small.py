"""What a subscription that appears holds: little, mostly as it should be, and some that nobody has looked at yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collector.demo.azure.estate_data import YEAR, Account, add_account, add_keys, add_vault
from collector.demo.azure.estate_logging import ACTIVITY, OPERATIONS, add_alert, add_plans, add_setting, add_sink
from collector.demo.azure.estate_machines import Vm, add_machine
from collector.demo.azure.estate_network import add_flow_log, add_network, add_watcher

if TYPE_CHECKING:
    from collector.demo.azure.estate import Builder

GROUP = "rg-analytics"


def add_small(build: Builder, label: str) -> None:
    """Good: the vault, the network, most plans. Not so: an account from a template of old, the machine's patching."""
    build.sink = add_sink(build, GROUP)
    logs = [(category, True) for category in ACTIVITY]
    subscription, sink = f"/subscriptions/{build.subscription}", build.sink
    add_setting(build, subscription, "activity", logs, workspace=sink.workspace, storage=sink.account)
    add_plans(build, ("Api", "CosmosDbs"))
    for operation in OPERATIONS[:6]:
        add_alert(build, operation, build.sink.actions, group=GROUP)
    add_watcher(build)
    short = "".join(letter for letter in label.lower() if letter.isalnum())[:12]
    for copy in build.copies():
        network, _ = add_network(build, f"vnet-{short}{copy}", ("notebooks",), GROUP)
        add_flow_log(build, network, f"vnet-{short}{copy}-flow", days=90)
        vault = add_vault(build, GROUP, f"kv-acme-{short}{copy}", purge_protection=True)
        add_keys(build, vault, (("storage", *YEAR), ("disks", *YEAR)))
        add_setting(build, vault, "audit", (("audit", True),), workspace=sink.workspace, groups=True)
        suffix = copy.replace("-", "")
        add_account(build, Account(f"acme{short}{suffix}", GROUP, customer_key=True, twice=True), vault)
        add_account(build, Account(f"acme{short}raw{suffix}", GROUP, minimum="TLS1_0"), vault)
        add_machine(build, Vm(f"vm-{short}{copy}", GROUP, mode="ImageDefault", missing=(0, 0)))
