"""Who may reach the servers of a zone: a part of a OneZone's spec.

Peers are spelled as in Kubernetes' own NetworkPolicy.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from onezone_operator.models.base import Model, rules

__all__ = ["IpBlock", "LabelSelector", "NetworkPeer", "NetworkPolicy"]

_ATOMIC: dict[str, Any] = {"x-kubernetes-list-type": "atomic"}
_Value = Annotated[
    str, Field(max_length=63, pattern="^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
]
_Key = Annotated[str, Field(min_length=1, max_length=317)]
_Network = Annotated[str, Field(max_length=43, json_schema_extra={"format": "cidr"})]


class LabelRequirement(Model):
    """One condition on labels."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "(self.operator == 'In' || self.operator == 'NotIn')"
                    " == (has(self.values) && size(self.values) > 0)"
                ),
                "In and NotIn need values, Exists and DoesNotExist have none",
            ),
        )
    )

    key: _Key
    """Key of the label."""

    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How its value is compared."""

    values: Annotated[list[_Value], Field(max_length=32, json_schema_extra=_ATOMIC)] = Field(
        default_factory=list
    )
    """Values of In and NotIn."""


class LabelSelector(Model):
    """Labels that must fit, all of them; without any, everything fits."""

    match_labels: Annotated[dict[_Key, _Value], Field(max_length=32)] = Field(default_factory=dict)
    """Labels with exactly these values."""

    match_expressions: Annotated[
        list[LabelRequirement], Field(max_length=32, json_schema_extra=_ATOMIC)
    ] = Field(default_factory=list)
    """Other conditions."""


class IpBlock(Model):
    """Addresses, of the cluster or outside of it."""

    cidr: _Network
    """The network, 192.0.2.0/24 or 2001:db8::/64."""

    except_: Annotated[
        list[_Network],
        Field(alias="except", max_length=32, json_schema_extra=_ATOMIC),
    ] = Field(default_factory=list)
    """Networks within it that are left out."""


class NetworkPeer(Model):
    """Pods by their labels and their namespaces', or addresses."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
                "a peer needs ipBlock alone, or podSelector and namespaceSelector or one of them",
            ),
        )
    )

    pod_selector: LabelSelector | None = None
    """Pods: of the OneZone's namespace, or of those that namespaceSelector selects."""

    namespace_selector: LabelSelector | None = None
    """Namespaces: all their pods, or those that podSelector selects."""

    ip_block: IpBlock | None = None
    """Addresses."""


class NetworkPolicy(Model):
    """NetworkPolicies of the zone: what is neither listed here nor needed by the servers themselves
    does not reach them. It takes a network that heeds policies.
    """

    enabled: bool = False
    """Make the policies. On a zone that runs it cuts off who is not let in."""

    clients_from: Annotated[list[NetworkPeer], Field(max_length=32, json_schema_extra=_ATOMIC)] = (
        Field(default_factory=list)
    )
    """Who may call the API. Empty: everyone, who must log in all the same. Calls through a port of
    a node may come from the node's address."""

    metrics_from: Annotated[list[NetworkPeer], Field(max_length=32, json_schema_extra=_ATOMIC)] = (
        Field(default_factory=list)
    )
    """Who may read metrics and status beside the operator: Prometheus. Empty: nobody."""

    operator_namespace: Annotated[str, Field(max_length=63)] | None = None
    """Namespace of the operator's pods. Absent: the one that the operator runs in."""
