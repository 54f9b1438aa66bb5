"""PodSecurity admission: the Pod Security Standards as of the cluster's version.

`baseline` and `restricted` are the controls of the two levels, `policy` reads what a namespace enforces, `admission`
refuses and warns. https://kubernetes.io/docs/concepts/security/pod-security-admission/
"""
