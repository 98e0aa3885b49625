"""MLflow's runs and registered versions, and the model files behind them: digests, the allow-list, ONNX."""

__all__ = [
    "background",
    "long_values",
    "model_files",
    "onnx",
    "records",
    "registry",
    "studies",
]
