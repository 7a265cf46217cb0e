"""A stand-in for api.kie.ai: KIE's HTTP API with a billing ledger, drawn pictures and scripted failures.

The sandbox is for development and tests. All state lies in one SQLite file and one folder of files. The process listens
on loopback and connects to nothing but the receivers of its callbacks. What is known of KIE: docs/provider.md.
"""
