{{/*
The operator's settings file. Keys that a user sets to null are absent here (Helm drops them), but null means something to the
operator (None), so those three are always written.
*/}}
{{- define "alignment-operator.settings" -}}
{{- $settings := omit .Values.settings "pods" "progress" -}}
{{- $_ := set $settings "namespace" .Release.Namespace -}}
{{- $_ := set $settings "watch_namespaces" .Values.watchNamespaces -}}
{{- $_ := set $settings "lease_name" (include "alignment-operator.fullname" .) -}}
{{- $_ := set $settings "health_port" 8080 -}}
{{- $_ := set $settings "pods" (include "alignment-operator.podSettings" . | fromYaml) -}}
{{- $labels := include "alignment-operator.selectorLabels" . | fromYaml -}}
{{- $_ := set $settings "job_network" (merge (dict "operator_labels" $labels) .Values.settings.job_network) -}}
{{- $_ := set $settings "progress" (include "alignment-operator.progressSettings" . | fromYaml) -}}
{{- toYaml $settings -}}
{{- end -}}

{{- define "alignment-operator.podSettings" -}}
{{- $pods := dict "run_as_user" nil "fs_group" nil "cache_volume" nil "shm_size" nil -}}
{{- range $key, $value := .Values.settings.pods -}}
{{- $_ := set $pods $key $value -}}
{{- end -}}
{{- if .Values.openshift -}}
{{- $_ := set $pods "run_as_user" nil -}}
{{- $_ := set $pods "fs_group" nil -}}
{{- end -}}
{{- $_ := set $pods "image" (include "alignment-operator.image" (dict "root" . "image" .Values.trainer.image)) -}}
{{- $_ := set $pods "image_pull_policy" (.Values.trainer.image.pullPolicy | default nil) -}}
{{- toYaml $pods -}}
{{- end -}}

{{- define "alignment-operator.progressSettings" -}}
{{- $progress := omit .Values.settings.progress "enabled" -}}
{{- $url := printf "https://%s.%s.svc:8443" (include "alignment-operator.fullname" .) .Release.Namespace -}}
{{- $_ := set $progress "url" (ternary $url nil .Values.settings.progress.enabled) -}}
{{- $_ := set $progress "port" 8443 -}}
{{- toYaml $progress -}}
{{- end -}}
