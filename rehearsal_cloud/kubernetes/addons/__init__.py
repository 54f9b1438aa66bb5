"""AKS's add-ons: KEDA, the Secrets Store CSI driver with its Azure provider, and workload identity."""
