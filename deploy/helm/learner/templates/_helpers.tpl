{{- define "learner.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "learner.fullname" -}}
{{- $name := include "learner.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "learner.selectorLabels" -}}
app.kubernetes.io/name: {{ include "learner.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "learner.labels" -}}
{{ include "learner.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "learner.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "learner.fullname" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* Nine tenths of the memory limit, in MiB, as Go's runtime reads it. */ -}}
{{- define "learner.goMemLimit" -}}
{{- $limit := .Values.resources.limits.memory }}
{{- $mebibytes := trimSuffix "Mi" $limit | int }}
{{- if hasSuffix "Gi" $limit }}
{{- $mebibytes = trimSuffix "Gi" $limit | int | mul 1024 }}
{{- end }}
{{- div (mul $mebibytes 9) 10 }}MiB
{{- end }}
