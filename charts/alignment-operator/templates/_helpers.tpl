{{- define "alignment-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Prefix of the names of objects: the release's name, with the chart's unless it is already in it. 52: room for suffixes. */}}
{{- define "alignment-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "alignment-operator.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "alignment-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "alignment-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "alignment-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "alignment-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "alignment-operator.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "alignment-operator.fullname" .) -}}
{{- end -}}

{{- define "alignment-operator.certificateName" -}}
{{- include "alignment-operator.fullname" . }}-tls
{{- end -}}

{{/* Reference of an image. Takes a dict: root, image. */}}
{{- define "alignment-operator.image" -}}
{{- $repository := .image.repository -}}
{{- with .root.Values.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (.image.tag | default .root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* A security context as the platform allows it: OpenShift chooses user and group IDs itself and refuses others. Takes a dict: root, context. */}}
{{- define "alignment-operator.securityContext" -}}
{{- ternary (omit .context "runAsUser" "runAsGroup" "fsGroup") .context .root.Values.openshift | toYaml -}}
{{- end -}}

{{/* Who the roles are bound to. */}}
{{- define "alignment-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "alignment-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
