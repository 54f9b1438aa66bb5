"""Azure Resource Manager: resources and their types, operations, authorization and throttling."""
