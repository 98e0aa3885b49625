"""What MLflow writes of a training is the same text, whoever writes it."""

import yaml
from mlflow.utils.environment import _process_pip_requirements

from pipelines.settings import PROJECT
from pipelines.training.registration import _libyaml


def test_the_environment_of_a_model_is_the_same_text_by_libyaml() -> None:
    environment, *_ = _process_pip_requirements(None, str(PROJECT / "locks" / "default.txt"), None)
    assert len(str(environment)) > 100_000
    slowly, dumper = yaml.safe_dump(environment, default_flow_style=False), yaml.SafeDumper
    with _libyaml():
        assert yaml.SafeDumper is not dumper
        assert yaml.safe_dump(environment, default_flow_style=False) == slowly
    assert yaml.SafeDumper is dumper
