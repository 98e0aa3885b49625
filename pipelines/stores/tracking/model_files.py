"""Model files, read as what they are: bytes whose digest is known, a plain archive, and types that were reviewed.

Every load passes four doors, each closed by itself: the signature (licences.py), then here the digest of the very bytes
that are loaded, the shape of the archive, and the types in it. Nothing is executed before the last is passed; the
list of trusted types that MLflow keeps beside a model is never read.
"""

import hashlib
import importlib
import io
import os
import re
import stat
import zipfile
from pathlib import Path
from typing import Any

from pipelines.contracts import EvergreenError

MODEL_FILE = "model.skops"
LARGEST = 1 << 30
"""No model file, and nothing unpacked from one, is larger (bytes)."""
LARGEST_SCHEMA = 1 << 26
ENTRIES = re.compile(r"schema\.json|\d+\.np[yz]")
"""What skops writes into an archive."""
KEPT = 8
# Reviewed: each of these only holds numbers, trees or trusted things. skops trusts most of scikit-learn by itself.
# A tree with false numbers can lead a reader astray in memory; the signature and the digest stand before this list.
# A partial is trusted because skops asks for the function in it by name as well; ours holds check_array.
TRUSTED = (
    "functools.partial",
    "numpy.dtype",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.interpolate._bsplines.BSpline",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfSquaredError",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.feature_selection._univariate_selection.f_classif",
    "sklearn.feature_selection._univariate_selection.f_regression",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)
_BUILT: dict[tuple[str, str], Any] = {}


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trusted_types(model: str) -> list[str]:
    """The allow-list of a model: the reviewed types and the classes its own estimator.py defines."""
    module = f"pipelines.models.{model}.estimator"
    own = vars(importlib.import_module(module)).values()
    names = [f"{module}.{o.__name__}" for o in own if isinstance(o, type) and o.__module__ == module]
    return [*TRUSTED, *names]


def loadable(fitted: Any, model: str) -> None:
    """A fitted model that nobody could load again is refused before it is logged; EvergreenError says why."""
    from skops.io import dumps

    try:
        foreign = _foreign(dumps(fitted), model)
    except Exception as error:  # whatever a foreign object raises when written
        raise EvergreenError(
            f"{model}: the model cannot be written without pickle ({type(error).__name__}: {str(error)[:200]}). Its "
            "functions and classes must be importable: scikit-learn's, or defined in estimator.py"
        ) from error
    if foreign:
        raise EvergreenError(
            f"{model}: the model holds types nobody reviewed: {', '.join(foreign)}. Build it of others, or read what "
            "they do and add them to TRUSTED in pipelines/stores/tracking/model_files.py"
        )


def _foreign(data: bytes, model: str) -> list[str]:
    """The types in a model file that neither skops nor the allow-list trusts."""
    from skops.io import get_untrusted_types

    return sorted(set(get_untrusted_types(data=data)) - set(trusted_types(model)))


def verified(path: Path, digest: str, what: str) -> bytes:
    """A file's bytes, read once, whose digest is the one that is asked for; EvergreenError if they are others."""
    data = _read(path, what)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise EvergreenError(
            f"{what}: the file's digest is {found[:12]}, registered was {digest[:12]}; "
            "it was changed after training and is refused"
        )
    return data


def built(data: bytes, digest: str, model: str) -> Any:
    """The object in verified bytes; what was built from the same bytes before is given again."""
    key = (model, digest)
    found = _BUILT.get(key)
    if found is None:
        found = _built(data, model)
        while len(_BUILT) >= KEPT:
            _BUILT.pop(next(iter(_BUILT)), None)
        _BUILT[key] = found
    return found


def forget() -> None:
    """From here on everything is built anew, as a new process would."""
    _BUILT.clear()


def load_verified(path: Path, digest: str, model: str) -> Any:
    """The object in a file with this digest, through every door but the signature."""
    return built(verified(path, digest, f"{model}'s model file"), digest, model)


def _read(path: Path, what: str) -> bytes:
    """A regular file of bearable size, read through one handle; a link, a device or a pipe is refused."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise EvergreenError(f"{what}: {path} cannot be read ({os.strerror(error.errno or 0)})") from error
    with os.fdopen(handle, "rb") as file:
        known = os.fstat(handle)
        if not stat.S_ISREG(known.st_mode) or known.st_size > LARGEST:
            raise EvergreenError(
                f"{what}: {path} is no regular file of at most {LARGEST >> 20:,} MB; refused"
            )
        return file.read(LARGEST + 1)


def _built(data: bytes, model: str) -> Any:
    from skops.io import loads

    try:
        _plain(data)
        foreign = _foreign(data, model)
        if not foreign:
            return loads(data, trusted=trusted_types(model))
    except EvergreenError:
        raise
    except Exception as error:
        raise EvergreenError(
            f"{model}: the model file cannot be read as a model ({type(error).__name__}: {str(error)[:200]}); refused"
        ) from error
    raise EvergreenError(f"{model}: the model file holds types nobody reviewed: {', '.join(foreign)}")


def _plain(data: bytes) -> None:
    """The archive holds what skops writes and no more, unpacked within bounds."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        odd = sorted({name for name in names if ENTRIES.fullmatch(name) is None or names.count(name) > 1})
        if odd:
            raise EvergreenError(
                f"the model file has entries no model has ({', '.join(map(repr, odd[:3]))}); refused"
            )
        packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
        if packed or sum(entry.file_size for entry in entries) > len(data):
            raise EvergreenError("the model file unpacks to more than it is; refused")
        if archive.getinfo("schema.json").file_size > LARGEST_SCHEMA:
            raise EvergreenError("the model file's schema.json is larger than any model's; refused")
        for name in names:
            _within(archive.read(name) if name.endswith(".npz") else b"", name)


def _within(data: bytes, name: str) -> None:
    """A sparse matrix is an archive of its own, and may be compressed."""
    if data and sum(entry.file_size for entry in zipfile.ZipFile(io.BytesIO(data)).infolist()) > LARGEST:
        raise EvergreenError(f"the model file's {name} unpacks to over {LARGEST >> 20:,} MB; refused")
