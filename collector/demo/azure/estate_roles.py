"""The built-in directory roles of Entra that the simulated tenant knows, with the ids that they have everywhere."""

from __future__ import annotations

# By name: the id of its template, what it is for, and some of what it may do.
ROLES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "Global Administrator": (
        "62e90394-69f5-4237-9190-012177145e10",
        "Can manage all aspects of Microsoft Entra ID and services that use its identities.",
        ("microsoft.directory/*/allTasks",),
    ),
    "Privileged Role Administrator": (
        "e8611ab8-c189-46e8-94e1-60213ab1f814",
        "Can manage role assignments in Microsoft Entra ID and all of Privileged Identity Management.",
        ("microsoft.directory/directoryRoles/allProperties/allTasks",),
    ),
    "Privileged Authentication Administrator": (
        "7be44c8a-adaf-4e2a-84d6-ab2649e08a13",
        "Can see, set and reset authentication method information of any user.",
        ("microsoft.directory/users/authenticationMethods/create",),
    ),
    "Security Administrator": (
        "194ae4cb-b126-40b2-bd5b-6091b380977d",
        "Can read security information and reports and manage configuration.",
        ("microsoft.directory/policies/basic/update",),
    ),
    "Conditional Access Administrator": (
        "b1be1c3e-b65d-4f19-8427-f6fa0d97feb9",
        "Can manage Conditional Access.",
        ("microsoft.directory/conditionalAccessPolicies/basic/update",),
    ),
    "Application Administrator": (
        "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",
        "Can create and manage all aspects of app registrations and enterprise apps.",
        ("microsoft.directory/applications/create",),
    ),
    "Cloud Application Administrator": (
        "158c047a-c907-4556-b7ef-446551a6b5f7",
        "Can create and manage all aspects of app registrations and enterprise apps except App Proxy.",
        ("microsoft.directory/applications/create",),
    ),
    "User Administrator": (
        "fe930be7-5e62-47db-91af-98c3a49a38b1",
        "Can manage all aspects of users and groups, including resetting passwords for limited admins.",
        ("microsoft.directory/users/create",),
    ),
    "Authentication Administrator": (
        "c4e39bd9-1100-46d3-8c65-fb160da0071f",
        "Can see, set and reset authentication method information of users who are no administrators.",
        ("microsoft.directory/users/authenticationMethods/create",),
    ),
    "Helpdesk Administrator": (
        "729827e3-9c14-49f7-bb1b-9608f156bbb8",
        "Can reset passwords for non-administrators and Helpdesk Administrators.",
        ("microsoft.directory/users/password/update",),
    ),
    "Exchange Administrator": (
        "29232cdf-9323-42fd-ade2-1d097af3e4de",
        "Can manage all aspects of Exchange.",
        ("microsoft.office365.exchange/allEntities/basic/allTasks",),
    ),
    "SharePoint Administrator": (
        "f28a1f50-f6e7-4571-818b-6a12f2af6b6c",
        "Can manage all aspects of SharePoint.",
        ("microsoft.office365.sharePoint/allEntities/allTasks",),
    ),
    "Hybrid Identity Administrator": (
        "8ac3fc64-6eca-42ea-9e69-59f4c7b60eb2",
        "Can manage provisioning from Active Directory, Entra Connect and federation.",
        ("microsoft.directory/domains/federation/update",),
    ),
    "Intune Administrator": (
        "3a2c62db-5318-420d-8d74-23affee5d9d5",
        "Can manage all aspects of Intune.",
        ("microsoft.intune/allEntities/allTasks",),
    ),
    "Billing Administrator": (
        "b0f54661-2d74-4c50-afa3-1ec803f12efe",
        "Can perform common billing tasks like updating payment information.",
        ("microsoft.commerce.billing/allEntities/allProperties/allTasks",),
    ),
    "Password Administrator": (
        "966707d0-3269-4727-9be2-8c3a10f19b9d",
        "Can reset passwords for non-administrators and Password Administrators.",
        ("microsoft.directory/users/password/update",),
    ),
    "Global Reader": (
        "f2ef992c-3afb-46b9-b7cf-a126ee74c451",
        "Can read everything that a Global Administrator can, and update nothing.",
        ("microsoft.directory/allEntities/allProperties/read",),
    ),
    "Directory Synchronization Accounts": (
        "d29b2b05-8046-44ba-8758-1e26182fcf32",
        "Only used by the Microsoft Entra Connect service.",
        ("microsoft.directory/policies/create",),
    ),
    "Directory Readers": (
        "88d8e3e3-8f55-4a1e-953a-9b9898b8876b",
        "Can read basic directory information.",
        ("microsoft.directory/users/standard/read",),
    ),
    "Reports Reader": (
        "4a5d8f65-41da-4de4-8968-e035b65339cf",
        "Can read sign-in and audit reports.",
        ("microsoft.directory/auditLogs/allProperties/read",),
    ),
}
# Those of which multifactor authentication is asked by a policy of its own.
ADMINISTRATORS = tuple(template for name, (template, _, _) in ROLES.items() if name.endswith("Administrator"))
