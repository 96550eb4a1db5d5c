{{/*
The operator's rights in the namespaces that it serves. tests/chart/test_rbac.py holds this list to its reasons: a right without
one fails there.
*/}}
{{- define "alignment-operator.workloadRules" -}}
- apiGroups: [alignment-operator.io]
  resources: [alignmentjobs]
  verbs: [get, list, watch]
- apiGroups: [alignment-operator.io]
  resources: [alignmentjobs/status]
  verbs: [patch]
# OpenShift refuses an owner reference with blockOwnerDeletion from who may not set the owner's finalizers.
- apiGroups: [alignment-operator.io]
  resources: [alignmentjobs/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, create]
{{- if .Values.settings.job_network.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, create]
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch, create]
{{- if .Values.rbac.kueue }}
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [list, watch, patch]
{{- end }}
{{- end -}}
