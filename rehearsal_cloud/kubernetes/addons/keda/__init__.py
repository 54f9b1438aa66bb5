"""KEDA: scaled objects, and the scalers that measure for them."""
