"""The dead man's switch: a ping a minute to a service outside, which raises the alarm when the pings stay away.

That tells of what nothing here can: this machine, or the alert sender itself, is gone.
"""

import logging
import threading

import requests

from rooney import log
from rooney.alerts.services import CONNECT_S, READ_S
from rooney.secrets import Secret

logger = logging.getLogger(__name__)

PING_S = 60.0  # between two pings


class DeadMansSwitch:
    """Pings of one URL, each in a thread of its own, so that a service that hangs delays no alert."""

    def __init__(self, url: Secret | None) -> None:
        self._url = url
        self._next_s = 0.0
        self._on_its_way = threading.Event()
        self._why = ""

    def turn(self, mono_s: float) -> None:
        """Ping if it is time, unless there is no URL or the last ping is still on its way."""
        if self._url is None or mono_s < self._next_s:
            return
        self._next_s = mono_s + PING_S
        if not self._on_its_way.is_set():
            self._on_its_way.set()
            threading.Thread(target=self._ping, args=(self._url,), name="ping", daemon=True).start()

    def _ping(self, url: Secret) -> None:
        try:
            why = ping(url)
        finally:
            self._on_its_way.clear()
        if why != self._why:
            self._why = why
            level = logging.ERROR if why else log.NOTICE
            log.event(logger, level, "alert", f"the dead man's ping {why or 'arrives'}")


def ping(url: Secret) -> str:
    """Reason why a ping did not arrive, or nothing; never the URL."""
    try:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url.reveal(), timeout=(CONNECT_S, READ_S), allow_redirects=False, stream=True)
            return "" if answer.status_code < 300 else f"answered {answer.status_code}"
    except (requests.RequestException, OSError, ValueError) as error:
        return f"not reached ({type(error).__name__})"
