"""An observer: posts each epoch's figures to an HTTP server."""

import json
from dataclasses import asdict
from typing import Literal
from urllib.request import Request, urlopen

from xtrain.extend import EpochRecord, Observer, frozen


@frozen
class Webhook:
    """`url` is where a JSON object is posted after each epoch."""

    name: Literal["webhook"] = "webhook"
    url: str = "http://127.0.0.1:8000/"

    def observer(self) -> Observer:
        """For one session."""
        return _Posting(self.url)


class _Posting(Observer):
    def __init__(self, url: str) -> None:
        self._url = url

    def epoch(self, record: EpochRecord) -> None:
        """An epoch was trained and evaluated."""
        body = json.dumps(asdict(record)).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(self._url, body, headers), timeout=10):
            pass
