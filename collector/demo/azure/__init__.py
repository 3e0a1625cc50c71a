"""A simulated Entra tenant with Azure subscriptions, on Microsoft's wire."""
