"""The predictors behind the app: each backend loaded once and shared by everybody, whatever length they read at."""

import importlib.util
import logging
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

from toolkit.chat.settings import ServerSettings
from toolkit.choices import Backend
from toolkit.models.bundle import Kind
from toolkit.models.completion import model_hash
from toolkit.prediction import Abstention, Predictor, load_predictor
from toolkit.prediction.selection import Choice, choose_backend
from toolkit.web.predictors import open_whole

_WEIGHTS: dict[Backend, str] = {"onnx": "model.onnx", "torch": "adapter_model.safetensors"}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """One loaded backend.

    Attributes:
        predictor: The predictor, reading as many tokens as its bundle says.
        model_hash: The SHA-256 of the bundle's manifest, which names that of every other file; of the weights where
            there is no manifest.
    """

    predictor: Predictor
    model_hash: str

    def view(self, max_length: int | None = None, uncertain_below: float | None = None) -> Predictor:
        """The same predictor, reading at most `max_length` tokens of a review, or as many as it can.

        Args:
            max_length: The number of tokens; the model's own by default.
            uncertain_below: See `Abstention`; the model's own by default.
        """
        length = None if max_length is None else min(max_length, self.predictor.positions)
        return self.predictor.with_options(max_length=length, abstention=Abstention(uncertain_below))


class Models:
    """Loads a backend when it is first asked for; many threads may ask.

    Args:
        settings: The settings, which say which models there are.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._models: dict[Backend, Model] = {}
        self._locks = {backend: Lock() for backend in _WEIGHTS}  # loading one keeps nobody from the other

    @property
    def loaded(self) -> Model | None:
        """The default backend's model, once it is there; never waits."""
        return self._models.get(self.default.backend)

    @cached_property
    def default(self) -> Choice:
        """What serves whoever chose nothing, decided once."""
        return self._choose(self._settings.backend)

    def backends(self) -> tuple[Backend, ...]:
        """The backends a user can choose from, the default first."""
        default = self.default.backend
        others = [name for name in _WEIGHTS if name != default and self._is_there(name)]
        return (default, *others)

    def load(self, backend: Backend | None = None) -> Model:
        """The model of a backend, loaded by whoever asks first while the others wait.

        Raises:
            BundleError: its folder is missing or damaged; whoever asks next tries again.
            MissingExtraError: its packages are not installed.
        """
        choice = self._choose(backend) if backend else self.default
        with self._locks[choice.backend]:
            if choice.backend not in self._models:
                self._models[choice.backend] = _load(choice, self._settings.base_model)
            return self._models[choice.backend]

    def _choose(self, backend: Backend) -> Choice:
        return choose_backend(backend, onnx_model=self._settings.onnx_model, adapter=self._settings.adapter)

    def _is_there(self, backend: Backend) -> bool:
        if backend == "torch" and not all(map(importlib.util.find_spec, ("torch", "peft"))):
            return False
        return (self._choose(backend).folder / _WEIGHTS[backend]).is_file()


def _load(choice: Choice, base_model: str | None) -> Model:
    predictor = load_predictor(
        choice.backend, onnx_model=choice.folder, adapter=choice.folder, base_model=base_model
    )  # each backend looks at its own folder only
    open_whole(predictor)
    _logger.info("%s on %s serves %s", predictor.backend, predictor.device, choice.folder)
    return Model(predictor, model_hash(choice.folder, Kind.ONNX if choice.backend == "onnx" else Kind.ADAPTER))
