"""The Edge Cluster Platform as it would be without Prefect: model, policy, clients, ledger, gateway, lab, commands."""
