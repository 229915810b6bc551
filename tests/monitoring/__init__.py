"""Monitoring: Prometheus' rules, the alerts, and what is drawn of them."""
