"""Azure Resource Manager.

`api` serves management.azure.com: `subscription` what belongs to no provider, `operation_polling` the operations'
URLs, `registrations` the providers' registration. `resources` starts, changes and deletes resources by their types,
which `resource_types` defines and `providers` holds. `cloud` is the state of one rehearsal and the services that all
share: `operations`, `authorization`, `throttle`, `faults`, `activity_log` and others.
"""
