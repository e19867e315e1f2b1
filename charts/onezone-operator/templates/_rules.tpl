{{/*
What the operator does with each kind, and no more. docs/reference/rbac.md says why; a test compares these rules
with the calls that the operator makes.
*/}}
{{- define "onezone-operator.rules" -}}
# The wishes, and what is said about them. patch: finalizer.
- apiGroups: [onezone.dev]
  resources: [onezones]
  verbs: [get, list, watch, patch]
- apiGroups: [onezone.dev]
  resources: [onezones/status]
  verbs: [get, patch]
- apiGroups: [onezone.dev]
  resources: [onezones/finalizers]
  verbs: [update]
# What a zone is made of.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, configmaps, secrets, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# The operator makes the leader Service's slice and repairs it; update is held because a role may only be given
# by who has what it allows (the servers' own role, below, allows get, update and patch of that one slice).
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create, patch, delete]
# Pods and volumes are made by the StatefulSet; the operator deletes one that must be replaced.
- apiGroups: [""]
  resources: [pods, persistentvolumeclaims]
  verbs: [get, list, watch, patch, delete]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
