"""Acceptance: the roadmap's criteria, and what showed each of them on this machine."""
