"""``init``, ``preflight`` and ``policy``: what is done before anything is collected."""

from __future__ import annotations

import sys
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from collector import config as config_file
from collector import controls as controls_file
from collector import daemon, errors
from collector.cli.app import app
from collector.cli.terminal import (
    DEFAULT_CONFIG,
    ConfigOption,
    Exit,
    JsonOption,
    err,
    out,
    print_json,
    settings_of,
    table_of,
)
from collector.clouds import directory as clouds
from collector.clouds import who
from collector.clouds.transcript import Transcript
from collector.collect import Task, collect
from collector.model import PART_WORDS, CheckRun, Scope, State
from collector.policy import Further, aws, azure, gcp
from collector.registry import Registry


class Form(StrEnum):
    """How a policy is written."""

    NATIVE = "native"
    TERRAFORM = "terraform"


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to write.")] = Path(),
    account: Annotated[
        str, typer.Option(help="AWS account id. Without any account, that of the AWS credentials found.")
    ] = "",
    profile: Annotated[str, typer.Option(help="Profile of the AWS configuration to use.")] = "",
    azure_tenant: Annotated[str, typer.Option(help="Entra tenant id.")] = "",
    gcp_parent: Annotated[str, typer.Option(help="Google organization, folder or project: organizations/123.")] = "",
    workspace_admin: Annotated[str, typer.Option(help="Workspace administrator in whose name users are read.")] = "",
    origin: Annotated[str, typer.Option(help="Name of the ledger, host/tenant, fixed for ever.")] = "",
) -> None:
    """Write collector.toml and controls.toml from the credentials found. Overwrites nothing."""
    targets = {name: folder / name for name in ("collector.toml", "controls.toml")}
    for path in targets.values():
        if path.exists():
            raise errors.ConfigError(f"{path} is already there; it was not touched")
    if not account and not azure_tenant and not gcp_parent:
        account = clouds.account_of(profile)
    tables, names = [], []
    if account:
        names.append(f"aws-{account}")
        tables.append(f'[[aws]]\naccount = "{account}"' + (f'\nprofile = "{profile}"' if profile else ""))
    if azure_tenant:
        names.append(f"azure-{azure_tenant}")
        tables.append(f'[[azure]]\ntenant = "{azure_tenant}"')
    if gcp_parent:
        names.append(f"gcp-{gcp_parent.replace('/', '-')}")
        admin = f'\nworkspace_admin = "{workspace_admin}"' if workspace_admin else ""
        tables.append(f'[[gcp]]\nparent = "{gcp_parent}"{admin}')
    folder.mkdir(parents=True, exist_ok=True)
    text = starter("collector.toml").replace("evidence.example.com/production", origin or f"collector.local/{names[0]}")
    text = text.replace('[[aws]]\naccount = "123456789012"', "\n\n".join(tables))
    targets["collector.toml"].write_text(text)
    try:
        config_file.load(targets["collector.toml"], {})
    except errors.ConfigError:
        targets["collector.toml"].unlink()
        raise
    targets["controls.toml"].write_text(controls_file.starter({name.partition("-")[0] for name in names}))
    out.print(f"Wrote {targets['collector.toml']} for {', '.join(names)} and {targets['controls.toml']}.")
    out.print(f"Next: collector preflight --config {targets['collector.toml']}")


def starter(name: str) -> str:
    """A file that ships as a beginning."""
    return resources.files("collector.starter").joinpath(name).read_text("utf-8")


@app.command()
def preflight(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """Ask everything once, keep nothing: which checks would be blind, and why."""
    settings = settings_of(config)
    registry = daemon.load_registry(settings)
    bound = daemon.load_controls(settings, registry)
    opener = daemon.directory(settings)
    rows: list[dict[str, Any]] = []
    for account in settings.accounts:
        transcript, reference = Transcript(), daemon.utc_now()
        handle = opener.open(account, transcript, reference)
        principal = handle.identity()
        parts = sorted(account.chosen or handle.parts())
        scope = account.scope
        out_line = f"{scope}: {principal}, {len(parts)} {PART_WORDS[scope.cloud]}(s): {', '.join(parts)}"
        if not as_json:
            out.print(out_line, markup=False)
        tasks = [
            Task(
                check,
                Scope(scope.cloud, scope.account, name),
                handle.within(name) if name else handle,
                bound.limits_of(id),
            )
            for id in bound.enabled
            if (check := registry[id].check).cloud == scope.cloud
            for name in (parts if check.parted else [""])
        ]
        rows += [_preflight_row(registry, run) for run in collect(tasks, daemon.utc_now)]
    blind = [row for row in rows if row["blind"]]
    if as_json:
        print_json(rows)
    elif blind:
        table = table_of("These would be blind", "check", "scope", "why", "needs")
        for row in blind:
            table.add_row(row["check"], row["scope"], row["blind"], ", ".join(row["permissions"]))
        out.print(table)
        out.print("Grant what is missing: collector policy aws|azure|gcp prints the least rights.")
    else:
        out.print(f"All {len(rows)} check runs can see their whole population.")
    raise typer.Exit(Exit.BLIND if blind else Exit.FINE)


def _preflight_row(registry: Registry, run: CheckRun) -> dict[str, Any]:
    unseen = [o.verdict.reason for o in run.observations if o.verdict.state is State.UNDETERMINED]
    return {
        "check": run.check,
        "scope": str(run.scope),
        "population": run.population,
        "blind": run.reason or (f"{len(unseen)} subjects: {unseen[0]}" if unseen else ""),
        "permissions": list(registry[run.check].check.permissions),
    }


# The only writes there are: deploy/feed gives each on one queue alone.
FEED = {
    "azure": "Microsoft.Storage/storageAccounts/queueServices/queues/messages/process/action",
    "gcp": "pubsub.subscriptions.consume",
}


@app.command("policy")
def policy_command(
    cloud: Annotated[str, typer.Argument(help="aws, azure or gcp.")],
    config: ConfigOption = DEFAULT_CONFIG,
    form: Annotated[
        Form,
        typer.Option("--format", help="native: IAM policy (aws), ARM template (azure), role file of gcloud (gcp)."),
    ] = Form.NATIVE,
) -> None:
    """Print the least rights for exactly the checks that are enabled (all, without a configuration)."""
    if cloud not in PART_WORDS:
        raise errors.ConfigError(f"no policy for {cloud!r}; known: {', '.join(PART_WORDS)}")
    settings = settings_of(config) if config.exists() else None
    if settings is not None:
        registry = daemon.load_registry(settings)
        enabled = daemon.load_controls(settings, registry).enabled
    else:
        registry = daemon.shipped()
        enabled = tuple(item.check.id for item in registry)
    checks: list[Any] = [registry[id].check for id in enabled if registry[id].check.cloud == cloud]
    if settings is not None and settings.alerts.changed_by:
        checks.append(Further("changed_by", cloud, who.PERMISSIONS[cloud]))
    if cloud == "aws":
        if form is Form.TERRAFORM:
            raise errors.ConfigError("the IAM policy is JSON, which Terraform's aws_iam_policy takes as it is")
        queues = [(feed.queue_url, feed.region) for feed in settings.feed.aws.values()] if settings else []
        print_json(aws.policy(checks, queues))
        return
    if settings is not None and getattr(settings.feed, cloud):
        err.print(f"The change feed takes messages off its own queue; that right is given there: {FEED[cloud]}.")
    if form is Form.TERRAFORM:
        sys.stdout.write(azure.terraform(checks) if cloud == "azure" else gcp.terraform(checks))
    elif cloud == "azure":
        print_json(azure.template(checks))
        err.print("An administrator also consents to these application permissions of Microsoft Graph:", markup=False)
        err.print(", ".join(azure.graph_permissions(checks)) or "none", markup=False)
    else:
        sys.stdout.write(gcp.role(checks))
