"""Every configured channel, opened with its secret. Sends nothing, and knows no route."""

from __future__ import annotations

import os
from collections.abc import Mapping

from collector.alert.alertmanager import Alertmanager
from collector.alert.apprise import Apprise
from collector.alert.email import Email
from collector.alert.message import Channel
from collector.alert.pagerduty import PagerDuty
from collector.alert.slack import Slack
from collector.alert.sns import Sns
from collector.alert.teams import Teams
from collector.alert.webhook import Webhook
from collector.config import Settings


def open_channels(settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, Channel]:
    """Every configured channel by name, with its secret. Raises ConfigError when a secret is not there, is none that
    its receiver could have given out, or when a library of an extra is missing."""
    alerts, origin = settings.alerts, settings.collector.origin
    found: dict[str, Channel] = {}
    for name, webhook in alerts.webhook.items():
        found[name] = Webhook(webhook.url, webhook.secret(environ), timeout=webhook.timeout)
    for name, email in alerts.email.items():
        found[name] = Email(
            email.host,
            email.port,
            sender=email.sender,
            to=email.to,
            tls=email.tls,
            username=email.username,
            password=email.password(environ),
            domain=origin.partition("/")[0],
            timeout=email.timeout,
        )
    for name, pager in alerts.pagerduty.items():
        found[name] = PagerDuty(pager.routing_key(environ), url=pager.url, timeout=pager.timeout)
    for name, slack in alerts.slack.items():
        found[name] = Slack(slack.address(environ), timeout=slack.timeout)
    for name, teams in alerts.teams.items():
        found[name] = Teams(teams.address(environ), timeout=teams.timeout)
    for name, manager in alerts.alertmanager.items():
        found[name] = Alertmanager(
            manager.url,
            origin=origin,
            hold=manager.hold,
            authorization=manager.authorization(environ),
            timeout=manager.timeout,
        )
    for name, sns in alerts.sns.items():
        found[name] = Sns(sns.topic, profile=sns.profile, role_arn=sns.role_arn, timeout=sns.timeout)
    for name, other in alerts.apprise.items():
        found[name] = Apprise(other.address(environ), timeout=other.timeout)
    return found
