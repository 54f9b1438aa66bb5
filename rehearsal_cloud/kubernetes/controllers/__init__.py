"""The controllers of a rehearsal's cluster: the loops of kube-controller-manager and the scheduler, one a module."""
