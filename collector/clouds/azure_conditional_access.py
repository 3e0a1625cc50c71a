"""What policies of conditional access ask of whom, by meaning. Asks nothing itself.

Policies add up: a sign-in has to meet every enabled policy that it falls under, so none takes back what another asks.
A word or a member that nobody has judged yet raises Unreadable, in every enabled policy that could decide.
Policies: https://learn.microsoft.com/graph/api/resources/conditionalaccesspolicy; whom they reach:
https://learn.microsoft.com/entra/identity/conditional-access/concept-conditional-access-users-groups.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from collector.errors import Unreadable
from collector.parsers import absent_means, field, one_of, text

CLIENTS = ("browser", "mobileAppsAndDesktopClients", "exchangeActiveSync", "other")
MODERN, LEGACY = CLIENTS[:2], CLIENTS[2:]  # legacy clients cannot be asked for a second factor: they are stopped by it
STATES = ("enabled", "disabled", "enabledForReportingButNotEnforced")
ASKS = ("", "mfa", "block")  # the weakest first: of controls joined by OR the weakest holds, by AND the strongest
CONTROLS = {
    "block": "block",
    "mfa": "mfa",
    **dict.fromkeys(("compliantDevice", "domainJoinedDevice", "approvedApplication", "compliantApplication"), ""),
    **dict.fromkeys(("passwordChange", "riskRemediation", "verifiedID"), ""),
}
# https://learn.microsoft.com/graph/api/resources/authenticationmethodmodes: factors by themselves, and halves of one.
WHOLE = (
    *("windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor", "deviceBasedPush", "federatedMultiFactor"),
    *("temporaryAccessPassOneTime", "temporaryAccessPassMultiUse"),
)
KNOWLEDGE = ("password", "federatedSingleFactor", "qrCodePin")
POSSESSION = (
    *("voice", "hardwareOath", "softwareOath", "sms", "microsoftAuthenticatorPush", "x509CertificateSingleFactor"),
    "email",
)
GUESTS = (
    *("internalGuest", "b2bCollaborationGuest", "b2bCollaborationMember", "b2bDirectConnectUser"),
    *("otherExternalUser", "serviceProvider"),
)
EVERY_GUEST = "GuestsOrExternalUsers"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RISKS = ("low", "medium", "high", "hidden", "none")
PLATFORMS = ("android", "iOS", "windows", "windowsPhone", "macOS", "linux", "all")
CONDITIONS = (
    *("applications", "users", "clientApplications", "clientAppTypes", "devices", "locations", "platforms"),
    *("servicePrincipalRiskLevels", "signInRiskLevels", "userRiskLevels", "insiderRiskLevels", "authenticationFlows"),
)
NOT_SET = "Microsoft Graph, conditionalAccessPolicy: a condition or control that a policy does not use is null"


@dataclass(frozen=True)
class Person:
    """A user as policies tell them apart. All ids are in small letters."""

    id: str
    guest: str = ""  # one of GUESTS; "" for a user who is none
    groups: frozenset[str] = frozenset()  # of those that policies name, through nested groups too
    roles: frozenset[str] = frozenset()  # templates of the roles held in the whole tenant
    scoped: frozenset[str] = frozenset()  # templates of the roles held in a part of it only


@dataclass(frozen=True)
class Choice:
    """The users that a policy includes, or those that it excludes."""

    everybody: bool
    users: frozenset[str]
    groups: frozenset[str]
    roles: frozenset[str]
    guests: frozenset[str]

    def takes(self, person: Person, roles: frozenset[str]) -> bool:
        """Whether the person is chosen, when ``roles`` are those that count."""
        named = person.id in self.users or person.guest in self.guests
        return self.everybody or named or not self.groups.isdisjoint(person.groups) or not self.roles.isdisjoint(roles)


@dataclass(frozen=True)
class Rule:
    """An enabled policy that asks for multifactor authentication, or blocks."""

    name: str
    asks: str  # "mfa", "block"
    clients: frozenset[str]  # of CLIENTS, those that it is for
    narrowed: tuple[str, ...]  # why it is not for every sign-in to every application: "at some locations only"
    include: Choice
    exclude: Choice

    def includes(self, person: Person) -> bool:
        """Whether the person is meant, excluded or not. A role that is held in a part of the tenant does not count, as
        Microsoft documents it."""
        return self.include.takes(person, person.roles)

    def excludes(self, person: Person) -> bool:
        """Whether the person is excluded, which wins. Since nothing is documented of it, a role held in part counts."""
        return self.exclude.takes(person, person.roles | person.scoped)

    def reaches(self, person: Person) -> bool:
        return self.includes(person) and not self.excludes(person)


def rules_of(policies: Iterable[Mapping[str, Any]]) -> list[Rule]:
    """The enabled policies that ask for multifactor authentication or block. Raises Unreadable for unknown words.

    A policy that blocks some sign-ins only says nothing about all others, and is left out.
    """
    found = []
    for policy in policies:
        if one_of(field(policy, "state"), STATES) != "enabled":
            continue
        grant = absent_means(policy, "grantControls", None, because=NOT_SET)
        asks = _asks(grant) if grant is not None else ""  # without one it sets the session only
        conditions = field(policy, "conditions")
        if not asks or _filled(absent_means(conditions, "clientApplications", None, because=NOT_SET)):
            continue  # nothing of interest, or for service principals and for no users
        _refuse_unknown(conditions, CONDITIONS)
        narrowed = (*_applications(field(conditions, "applications")), *_narrowing(conditions))
        users = field(conditions, "users")
        include, exclude = _choice(users, "include"), _choice(users, "exclude")
        rule = Rule(_name(policy), asks, _clients(conditions), narrowed, include, exclude)
        if asks == "mfa" or not narrowed:
            found.append(rule)
    return found


def trials_of(policies: Iterable[Mapping[str, Any]], control: str) -> list[str]:
    """The names of policies that report only and would, for somebody, ask the control "mfa" or "block".

    They enforce nothing whatever their conditions are, so these are not read.
    """
    found = []
    for policy in policies:
        if one_of(field(policy, "state"), STATES) != "enabledForReportingButNotEnforced":
            continue
        grant = absent_means(policy, "grantControls", {}, because=NOT_SET)
        strength = absent_means(grant, "authenticationStrength", None, because=NOT_SET)
        if control in _used(grant, "builtInControls") or (control == "mfa" and strength):
            found.append(_name(policy))
    return sorted(found)


def groups_of(rules: Iterable[Rule]) -> frozenset[str]:
    """The ids of the groups that rules name."""
    return frozenset[str]().union(*(rule.include.groups | rule.exclude.groups for rule in rules))


def names_roles(rules: Iterable[Rule]) -> bool:
    return any(rule.include.roles or rule.exclude.roles for rule in rules)


def covering(rules: Iterable[Rule], person: Person | None = None) -> list[Rule]:
    """The rules that hold at every sign-in of a person, or of all users that they do not exclude."""
    return [
        rule for rule in rules if not rule.narrowed and (rule.reaches(person) if person else rule.include.everybody)
    ]


def uncovered(rules: Iterable[Rule], clients: Iterable[str] = CLIENTS) -> tuple[str, ...]:
    """The kinds of clients that no one of the rules is for."""
    taken = frozenset[str]().union(*(rule.clients for rule in rules))
    return tuple(client for client in clients if client not in taken)


# --- what a policy asks ---


def _asks(grant: Mapping[str, Any]) -> str:
    """ "mfa" when nobody gets in without it, "block" when nobody gets in; "" for all else."""
    known = ("operator", "builtInControls", "customAuthenticationFactors", "termsOfUse", "authenticationStrength")
    _refuse_unknown(grant, known)
    found = [CONTROLS[one_of(word, CONTROLS)] for word in _words(grant, "builtInControls")]
    for name in ("customAuthenticationFactors", "termsOfUse"):
        found += ["" for _ in _words(grant, name)]
    strength = absent_means(grant, "authenticationStrength", None, because=NOT_SET)
    if strength is not None:
        found.append("mfa" if _needs_factors(strength) else "")
    operator = one_of(field(grant, "operator"), ("AND", "OR"))
    return (max if operator == "AND" else min)(found, key=ASKS.index, default="")


def _needs_factors(strength: Mapping[str, Any]) -> bool:
    """Whether each allowed combination of methods is more than one factor."""
    combinations = _words(strength, "allowedCombinations")
    if not combinations:
        raise Unreadable("an authentication strength without allowed combinations")
    return all(_is_multifactor(combination) for combination in combinations)


def _is_multifactor(combination: str) -> bool:
    methods = [one_of(word.strip(), (*WHOLE, *KNOWLEDGE, *POSSESSION)) for word in combination.split(",")]
    halves = (any(word in KNOWLEDGE for word in methods), any(word in POSSESSION for word in methods))
    return any(word in WHOLE for word in methods) or all(halves)


# --- when a policy applies ---


def _clients(conditions: Mapping[str, Any]) -> frozenset[str]:
    words = [one_of(word, ("all", "easSupported", *CLIENTS)) for word in _words(conditions, "clientAppTypes")]
    if not words:
        raise Unreadable("a policy of conditional access without clientAppTypes, which is required")
    # easSupported is a part of exchangeActiveSync, so it makes nothing whole.
    return frozenset(CLIENTS) if "all" in words else frozenset(words) & frozenset(CLIENTS)


def _applications(applications: Mapping[str, Any]) -> list[str]:
    """Why a policy is not for all applications; nothing when it is."""
    known = ("includeApplications", "excludeApplications", "includeUserActions", "applicationFilter")
    _refuse_unknown(applications, (*known, "includeAuthenticationContextClassReferences"))
    found = []
    if "All" not in _words(applications, "includeApplications"):
        if _used(applications, "includeUserActions"):
            found.append("for actions of users only")
        elif _used(applications, "includeAuthenticationContextClassReferences"):
            found.append("for authentication contexts only")
        else:
            found.append("for some applications only")
    some = absent_means(applications, "applicationFilter", None, because=NOT_SET)
    if _words(applications, "excludeApplications") or _filled(some):
        found.append("not for all applications")
    return found


def _narrowing(conditions: Mapping[str, Any]) -> list[str]:
    """What else leaves out some sign-ins of the users that a policy reaches."""
    found = []
    if _filled(absent_means(conditions, "devices", None, because=NOT_SET)):
        found.append("on some devices only")
    for kind, known, everything in (("Platforms", PLATFORMS, "all"), ("Locations", (), "All")):
        some = absent_means(conditions, kind.lower(), None, because=NOT_SET)
        if some is None:
            continue
        _refuse_unknown(some, (f"include{kind}", f"exclude{kind}"))
        included, excluded = _words(some, f"include{kind}"), _words(some, f"exclude{kind}")
        if known:  # a location is named by its id
            included, excluded = ([one_of(word, known) for word in words] for words in (included, excluded))
        if excluded or everything not in included:
            found.append(f"on some {kind.lower()} only" if known else f"at some {kind.lower()} only")
    for kind, read in (("signIn", _words), ("user", _words), ("servicePrincipal", _used)):
        if [one_of(word, RISKS) for word in read(conditions, f"{kind}RiskLevels")]:
            found.append(f"at some {kind} risk only")
    if _flags(conditions, "insiderRiskLevels", ("minor", "moderate", "elevated")):
        found.append("at some insider risk only")
    flows = absent_means(conditions, "authenticationFlows", {}, because=NOT_SET)
    _refuse_unknown(flows, ("transferMethods",))
    if _flags(flows, "transferMethods", ("none", "deviceCodeFlow", "authenticationTransfer")) - {"none"}:
        found.append("for some authentication flows only")
    return found


# --- whom a policy reaches ---


def _choice(users: Mapping[str, Any], side: str) -> Choice:
    """One side, "include" or "exclude". What cannot be decided is chosen by the exclusion, and not by the inclusion."""
    members = [f"{verb}{kind}" for verb in ("include", "exclude") for kind in ("Users", "Groups", "Roles", EVERY_GUEST)]
    _refuse_unknown(users, members)
    words = {word.lower() for word in _words(users, f"{side}Users")}
    ids = words - {"all", "none", EVERY_GUEST.lower()}
    groups, roles = ({word.lower() for word in _words(users, f"{side}{kind}")} for kind in ("Groups", "Roles"))
    if odd := sorted(id for id in ids | groups | roles if not ID.fullmatch(id)):
        raise Unreadable(f"a policy of conditional access names {odd[0]!r}, which is no id")
    guests = set(GUESTS) if EVERY_GUEST.lower() in words else set()
    some = absent_means(users, f"{side}{EVERY_GUEST}", {}, because=NOT_SET)
    _refuse_unknown(some, ("guestOrExternalUserTypes", "externalTenants"))
    kinds = _flags(some, "guestOrExternalUserTypes", ("none", *GUESTS)) - {"none"}
    tenants = absent_means(some, "externalTenants", {}, because=NOT_SET)
    whole = not tenants or one_of(field(tenants, "membershipKind"), ("all", "enumerated")) == "all"
    if side == "include" and not whole:  # nobody here can say which tenant a user is from
        kinds &= {"internalGuest"}
    return Choice("all" in words, frozenset(ids), frozenset(groups), frozenset(roles), frozenset(guests | kinds))


# --- reading ---


def _name(policy: Mapping[str, Any]) -> str:
    return text(field(policy, "displayName"))


def _words(holder: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts that must be there."""
    found = field(holder, name)
    if not isinstance(found, list):
        raise Unreadable(f"{name} of a policy of conditional access is no list")
    return [text(word) for word in found]


def _used(holder: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts; empty where the policy does not use it."""
    return [] if absent_means(holder, name, None, because=NOT_SET) is None else _words(holder, name)


def _flags(holder: Mapping[str, Any], name: str, known: Collection[str]) -> set[str]:
    """The words of an enumeration of several values, which Graph writes in one text: "minor,moderate"."""
    found = absent_means(holder, name, "", because=NOT_SET)
    if not isinstance(found, str):
        raise Unreadable(f"{name} of a policy of conditional access is no text")
    return {one_of(word.strip(), known) for word in found.split(",")} if found else set()


def _refuse_unknown(holder: Any, known: Collection[str]) -> None:
    """Raises Unreadable for an object with a member that is set and that nobody has judged yet."""
    if not isinstance(holder, Mapping):
        raise Unreadable("a part of a policy of conditional access is no object")
    others = {name: value for name, value in holder.items() if name not in known and "@odata." not in name}
    if odd := sorted(name for name, value in others.items() if _filled(value)):
        raise Unreadable(f"a policy of conditional access has a member {odd[0]} that nobody has judged yet")


def _filled(value: Any) -> bool:
    """Whether anything is set: neither null, empty, nor an object of nothing else."""
    if isinstance(value, Mapping):
        return any(_filled(member) for name, member in value.items() if "@odata." not in name)
    return value not in (None, "", []) if not isinstance(value, bool) else True
