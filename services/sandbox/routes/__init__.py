"""The routes of KIE's API and file hosts, and the control routes of tests."""
