"""An outage of Redis, as a process that goes on without it says it: once, and once more when it has lasted."""

import logging
import time

from rooney.errors import BusError

ALERT_S = 30.0


class Outage:
    """The present outage, or none.

    meanwhile: goes on so long, for the first message; cost: of one that lasts, for the second
    is_on:     Redis does not do its part; is_alerted: for so long that an alert was raised
    word:      what is the matter: away, or full
    """

    def __init__(self, logger: logging.Logger, meanwhile: str, cost: str) -> None:
        self._logger = logger
        self._meanwhile = meanwhile
        self._cost = cost
        self._began_mono = 0.0
        self.word = "away"
        self.is_on = False
        self.is_alerted = False

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began_mono

    def failed(self, error: BusError) -> None:
        """Redis did not do its part."""
        self.word = "full" if "'maxmemory'" in str(error) else "away"
        if not self.is_on:
            self._logger.error("%s; %s", error, self._meanwhile)
            self._began_mono = time.monotonic()
            self.is_on = True
        if not self.is_alerted and self.seconds >= ALERT_S:
            self.is_alerted = True
            self._logger.critical("Redis has been %s for %g s: %s", self.word, ALERT_S, self._cost)

    def ended(self) -> None:
        """Redis is back; what it missed is the caller's to say."""
        self.is_on = self.is_alerted = False
