"""What Prometheus is told."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The numbers of one server.

    Attributes:
        requests: Requests by endpoint and status code.
        seconds: The seconds from a request's head to the end of its answer, by endpoint.
        reviews: Reviews that the model has read.
        queue: Reviews that wait for the model.
        rejected: Requests without an answer, by the word for what went wrong.
        model: The model that answers, by its hash.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        registry = self._registry
        self.requests = Counter("toolkit_requests", "Requests.", ["endpoint", "status"], registry=registry)
        self.seconds = Histogram(
            "toolkit_request_seconds", "From a request's head to the end of its answer.", ["endpoint"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.reviews = Counter("toolkit_reviews", "Reviews that the model has read.", registry=registry)
        self.queue = Gauge("toolkit_queue_reviews", "Reviews that wait for the model.", registry=registry)
        self.rejected = Counter("toolkit_rejected", "Requests without an answer.", ["reason"], registry=registry)
        self.model = Gauge("toolkit_model_info", "The model that answers: 1.", ["sha256"], registry=registry)

    def text(self, model_hash: str) -> bytes:
        """All numbers, as Prometheus reads them.

        Args:
            model_hash: The hash of the model that answers.
        """
        self.model.clear()
        self.model.labels(model_hash).set(1)
        return generate_latest(self._registry)
