{{/* Name of an admission policy. Two releases of one name may live in two namespaces, and these objects live in none. Takes a dict: root, what. */}}
{{- define "alignment-operator.admissionPolicyName" -}}
{{- printf "%s-%s-%s" (include "alignment-operator.fullname" .root) .what .root.Release.Namespace -}}
{{- end -}}

{{/* Which requests a policy judges. Status is the operator's. */}}
{{- define "alignment-operator.admissionConstraints" -}}
matchConstraints:
  resourceRules:
    - apiGroups: [alignment-operator.io]
      apiVersions: ["*"]
      operations: [CREATE, UPDATE]
      resources: [alignmentjobs]
{{- end -}}

{{/* The binding of a policy to the namespaces of the release. Takes a dict: root, what, action. */}}
{{- define "alignment-operator.admissionBinding" }}
{{- $name := include "alignment-operator.admissionPolicyName" . }}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels:
    {{- include "alignment-operator.labels" .root | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [{{ .action }}]
  {{- with .root.Values.watchNamespaces }}
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values:
            {{- toYaml . | nindent 12 }}
  {{- end }}
{{- end -}}
