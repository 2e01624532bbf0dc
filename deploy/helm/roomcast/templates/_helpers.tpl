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

{{/* Over how many seconds a stop ends its clients. */}}
{{- define "roomcast.spreadSeconds" -}}
{{- if kindIs "invalid" .Values.drain.spreadSeconds -}}
{{ ternary 10 0 .Values.cluster.enabled }}
{{- else -}}
{{ .Values.drain.spreadSeconds }}
{{- end -}}
{{- end -}}

{{/* The longest that a stop may take: clients are cut within 5 s, a cluster is left within 3 s, and the process ends. */}}
{{- define "roomcast.stopSeconds" -}}
{{- add .Values.drain.delaySeconds (include "roomcast.spreadSeconds" . | int) .Values.drain.graceSeconds 10 -}}
{{- end -}}

{{/* HTTP or HTTPS, as the HTTP port of the server speaks. */}}
{{- define "roomcast.scheme" -}}
{{- if and .Values.tls.existingSecret (ne .Values.tls.ports "tcp") }}HTTPS{{ else }}HTTP{{ end -}}
{{- end -}}

{{/* A probe asks at this path by HTTP. Where connections begin with a PROXY header, which a kubelet does not send, the
program of the image asks. */}}
{{- define "roomcast.probe" -}}
{{- if has (index .root.Values.settings "proxy-protocol") (list "http" "both") -}}
exec: { command: [/usr/bin/roomcast, health{{ if eq .path "/ready" }}, --ready{{ end }}] }
{{- else -}}
httpGet: { path: {{ .path }}, port: http, scheme: {{ include "roomcast.scheme" .root }} }
{{- end -}}
{{- end -}}

{{/* How a Service is reached. */}}
{{- define "roomcast.exposure" -}}
type: {{ .type }}
{{- with .externalTrafficPolicy }}
externalTrafficPolicy: {{ . }}
{{- end }}
{{- with .loadBalancerClass }}
loadBalancerClass: {{ . }}
{{- end }}
{{- with .loadBalancerSourceRanges }}
loadBalancerSourceRanges: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "roomcast.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "roomcast.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* An Ingress of this host: for some paths, to a Service, with annotations. */}}
{{- define "roomcast.ingress" -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ .name }}
  labels: {{- include "roomcast.labels" .root | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .root.Values.ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .root.Values.ingress.tlsSecret }}
  tls:
    - hosts: [{{ $.root.Values.ingress.host | quote }}]
      secretName: {{ . }}
  {{- end }}
  rules:
    - host: {{ required "ingress.enabled needs ingress.host" .root.Values.ingress.host | quote }}
      http:
        paths:
          {{- range .paths }}
          - path: {{ .path }}
            pathType: {{ .pathType | default "Prefix" }}
            backend:
              service:
                name: {{ $.name }}
                port: { name: http }
          {{- end }}
{{- end -}}

{{/* The settings file. A value of JSON is one of TOML. */}}
{{- define "roomcast.settings" -}}
drain-delay = "{{ .Values.drain.delaySeconds }}s"
drain-spread = "{{ include "roomcast.spreadSeconds" . }}s"
grace = "{{ .Values.drain.graceSeconds }}s"
# No other server waits for the port of a pod.
probes-until-end = true
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
{{- if .Values.autoscaling.enabled -}}
{{- $clients := index .Values.settings "max-clients" -}}
{{- if and $clients (ge (int .Values.autoscaling.connections) (int $clients)) -}}
{{- fail "autoscaling.connections must be below settings.max-clients: a server that is full has no more clients" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (eq (include "roomcast.scheme" .) "HTTPS") -}}
{{- $known := "backend-protocol|upstream-protocol|app-protocols|serversscheme|secure-backends|server-ssl" -}}
{{- if not (keys .Values.ingress.annotations .Values.service.annotations | join " " | regexMatch $known) -}}
{{- fail "the HTTP port speaks TLS, and no annotation says so: set ingress.annotations, for nginx backend-protocol HTTPS" -}}
{{- end -}}
{{- end -}}
{{- end -}}
