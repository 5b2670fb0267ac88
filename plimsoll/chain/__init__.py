"""What touches a chain: compiler, artifacts, a local node, deployment manifests, contract bindings, transactions."""
