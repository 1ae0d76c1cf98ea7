"""Mail when the endpoint is away, or when the machine says that something is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_gcp import monitoring

from infra.host.names import ALERTS
from stacks.cloud.network import EVERYBODY
from stacks.cloud.part import Part, Place
from stacks.cloud.services import Services

HEALTH = "/healthz"
_HOUR = "3600s"


@dataclass(frozen=True, kw_only=True)
class AlertsArgs:
    """What the alerts are made from."""

    place: Place
    address: pulumi.Input[str]
    services: Services


class Alerts(Part):
    """Three ways to notice, so that no single one has to work: Google asks the endpoint from
    outside, sees that the machine computes, and reads what the machine writes about its disk, its
    queue and its services (`ALERTS` of infra/host/names.py).

    Google's own checkers come from many addresses, so the first is left out where `allowedRanges`
    shuts them out; with client certificates it only sees that the port answers.
    """

    def __init__(
        self, name: str, args: AlertsArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("Alerts", name, opts, args.services)
        self._args, self._place = args, args.place
        self._channel = monitoring.NotificationChannel(
            "mail",
            monitoring.NotificationChannelArgs(
                display_name=f"{args.place.names.prefix}: mail",
                type="email",
                labels={"email_address": args.place.settings.cloud.alert_email},
                user_labels=args.place.labels,
            ),
            opts=self.options(),
        )
        if EVERYBODY in args.place.settings.edge.allowed_ranges:
            self._endpoint()
        self._machine()
        for what, meaning in ALERTS.items():
            self._said(what, meaning)
        self.register_outputs({})

    def _endpoint(self) -> None:
        edge = self._place.settings.edge
        title = f"{self._place.names.prefix}: endpoint"
        web = monitoring.UptimeCheckConfigHttpCheckArgs(
            path=HEALTH,
            port=443,
            request_method="GET",
            use_ssl=True,
            # A certificate of our own CA is none that Google could check.
            validate_ssl=edge.acme,
        )
        check = monitoring.UptimeCheckConfig(
            "endpoint",
            monitoring.UptimeCheckConfigArgs(
                display_name=title,
                timeout="10s",
                period="60s",
                http_check=None if edge.client_certificates else web,
                tcp_check=monitoring.UptimeCheckConfigTcpCheckArgs(port=443)
                if edge.client_certificates
                else None,
                monitored_resource=monitoring.UptimeCheckConfigMonitoredResourceArgs(
                    type="uptime_url",
                    labels={
                        "project_id": self._place.names.project,
                        "host": edge.domain or self._args.address,
                    },
                ),
                user_labels=self._place.labels,
            ),
            opts=self.options(),
        )
        self._policy(
            "endpoint-away",
            "The endpoint does not answer from outside. Members' machines keep what they send.",
            monitoring.AlertPolicyConditionArgs(
                display_name="no answer from two places or more, for two minutes",
                condition_threshold=monitoring.AlertPolicyConditionConditionThresholdArgs(
                    filter=pulumi.Output.concat(
                        'resource.type = "uptime_url" AND metric.type = '
                        '"monitoring.googleapis.com/uptime_check/check_passed" AND '
                        'metric.labels.check_id = "',
                        check.uptime_check_id,
                        '"',
                    ),
                    comparison="COMPARISON_GT",
                    threshold_value=1,
                    duration="120s",
                    aggregations=[
                        monitoring.AlertPolicyConditionConditionThresholdAggregationArgs(
                            alignment_period="300s",
                            per_series_aligner="ALIGN_NEXT_OLDER",
                            cross_series_reducer="REDUCE_COUNT_FALSE",
                            group_by_fields=["resource.label.project_id", "resource.label.host"],
                        )
                    ],
                ),
            ),
        )

    def _machine(self) -> None:
        self._policy(
            "machine-absent",
            "The machine does not run. `pulumi up --refresh` makes it anew; data is on its disk.",
            monitoring.AlertPolicyConditionArgs(
                display_name="no sign of the machine for ten minutes",
                condition_absent=monitoring.AlertPolicyConditionConditionAbsentArgs(
                    filter=(
                        'resource.type = "gce_instance" AND metric.type = '
                        '"compute.googleapis.com/instance/cpu/utilization" AND '
                        f'metric.labels.instance_name = "{self._place.names.instance}"'
                    ),
                    duration="600s",
                    aggregations=[
                        monitoring.AlertPolicyConditionConditionAbsentAggregationArgs(
                            alignment_period="60s",
                            per_series_aligner="ALIGN_MEAN",
                            cross_series_reducer="REDUCE_MEAN",
                        )
                    ],
                ),
            ),
        )

    def _said(self, what: str, meaning: str) -> None:
        """A line of the machine's log. Its words name the stack, so that a machine made anew needs
        no other policy, and whichever log carries it will do."""
        self._policy(
            f"said-{what}",
            meaning,
            monitoring.AlertPolicyConditionArgs(
                display_name=f"the machine reports: {what}",
                condition_matched_log=monitoring.AlertPolicyConditionConditionMatchedLogArgs(
                    filter=f'resource.type = "gce_instance" AND "{self._place.names.alert(what)}"'
                ),
            ),
            strategy=monitoring.AlertPolicyAlertStrategyArgs(
                notification_rate_limit=(
                    monitoring.AlertPolicyAlertStrategyNotificationRateLimitArgs(period=_HOUR)
                ),
                auto_close=_HOUR,
            ),
        )

    def _policy(
        self,
        name: str,
        meaning: str,
        condition: monitoring.AlertPolicyConditionArgs,
        strategy: monitoring.AlertPolicyAlertStrategyArgs | None = None,
    ) -> None:
        monitoring.AlertPolicy(
            name,
            monitoring.AlertPolicyArgs(
                display_name=f"{self._place.names.prefix}: {name}",
                combiner="OR",
                conditions=[condition],
                notification_channels=[self._channel.name],
                alert_strategy=strategy,
                documentation=monitoring.AlertPolicyDocumentationArgs(
                    content=f"{meaning} See docs/CLOUD.md.", mime_type="text/markdown"
                ),
                user_labels=self._place.labels,
            ),
            opts=self.options(),
        )
