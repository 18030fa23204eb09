{{- define "paceline.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- define "paceline.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "paceline.labels" -}}
{{ include "paceline.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{/* The port for /metrics and /paceline: the admins' own, or else the clients'. */}}
{{- define "paceline.adminPort" -}}
{{- if (.Values.config.admin).port }}admin{{ else }}http{{ end }}
{{- end }}

{{/* Whether it looks engines up in Kubernetes, and so needs to be allowed to. */}}
{{- define "paceline.discovers" -}}
{{- range .Values.config.discovery }}{{ if .service }}yes{{ end }}{{ end }}
{{- end }}

{{/* All numbers among the values are floats to Helm, and paceline tells 8000 from 8000.0. */}}
{{- define "paceline.toml" -}}
{{ regexReplaceAll "(?m)^(\\s*[\\w-]+ = -?\\d+)\\.0$" (toToml .Values.config) "${1}" }}
{{- end }}
