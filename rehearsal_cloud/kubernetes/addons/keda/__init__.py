"""KEDA: the ScaledObject controller, its scalers, and the external metrics that the pod autoscaler reads."""
