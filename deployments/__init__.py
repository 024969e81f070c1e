"""What a Prefect server is told: environments, work pools, automations, limits, and the script that applies them."""
