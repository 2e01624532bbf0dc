{{- define "roomcast.name" -}}
{{- .Release.Name | trunc 53 | trimSuffix "-" -}}
{{- end -}}

{{- define "roomcast.selector" -}}
app.kubernetes.io/name: roomcast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "roomcast.labels" -}}
{{ include "roomcast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The longest that a stop may take, and five seconds for the process to end. */}}
{{- define "roomcast.stopSeconds" -}}
{{- with .Values.drain -}}
{{ add .delaySeconds .spreadSeconds .graceSeconds 5 }}
{{- end -}}
{{- end -}}

{{/* HTTP or HTTPS, as the HTTP port of the server speaks. */}}
{{- define "roomcast.scheme" -}}
{{- if and .Values.tls.existingSecret (ne .Values.tls.ports "tcp") }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}

{{/* The settings file. A value of JSON is one of TOML. */}}
{{- define "roomcast.settings" -}}
drain-delay = "{{ .Values.drain.delaySeconds }}s"
drain-spread = "{{ .Values.drain.spreadSeconds }}s"
grace = "{{ .Values.drain.graceSeconds }}s"
{{- if .Values.tls.existingSecret }}
tls = {{ .Values.tls.ports | quote }}
tls-cert = "/etc/roomcast/tls/tls.crt"
tls-key = "/etc/roomcast/tls/tls.key"
{{- end }}
{{- range $name, $value := .Values.settings }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- range .Values.rules }}

[[rule]]
{{- range $name, $value := . }}
{{ $name }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What must not be combined; the schema sees one value at a time. */}}
{{- define "roomcast.check" -}}
{{- if and (not .Values.cluster.enabled) (or (gt (int .Values.replicas) 1) .Values.autoscaling.enabled) -}}
{{- fail "several servers need cluster.enabled: those that are alone do not share their rooms" -}}
{{- end -}}
{{- if and .Values.cluster.enabled (not .Values.cluster.url) (not .Values.cluster.existingSecret) -}}
{{- fail "cluster.enabled needs cluster.url or cluster.existingSecret" -}}
{{- end -}}
{{- end -}}
