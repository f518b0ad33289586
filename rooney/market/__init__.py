"""Instruments, sessions, bars and the minutes of the tape. Pure."""
