{{/* Names are fixed: the definitions and the policies exist once in a cluster, and so does the operator. */}}
{{- define "gradatim.labels" -}}
app.kubernetes.io/part-of: gradatim
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "gradatim.selector" -}}
app.kubernetes.io/name: gradatim-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "gradatim.weaviateSelector" -}}
app.kubernetes.io/name: gradatim-weaviate
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The pods of Runs, as the operator labels them. */}}
{{- define "gradatim.workloadSelector" -}}
app.kubernetes.io/managed-by: gradatim-operator
app.kubernetes.io/component: workload
{{- end }}

{{- define "gradatim.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}{{ else }}{{ .image.repository }}:{{ .image.tag | default .version }}{{ end }}
{{- end }}

{{- define "gradatim.user" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ .Values.serviceAccount.name }}
{{- end }}

{{- define "gradatim.subjects" -}}
- kind: ServiceAccount
  name: {{ .Values.serviceAccount.name }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "gradatim.workloadNamespaces" -}}
{{- toJson (.Values.workloadNamespaces | default .Values.watchNamespaces) }}
{{- end }}

{{/* What a container needs under the Pod Security Standard "restricted", and a root file system that nobody writes. */}}
{{- define "gradatim.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "gradatim.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The Secret of one of Weaviate's users, given as a list of the root and the user. */}}
{{- define "gradatim.weaviateSecret" -}}
{{- $user := index . 1 }}{{ get (index . 0).Values.weaviate.existingSecrets $user | default (printf "gradatim-weaviate-%s" $user) }}
{{- end }}

{{/* Its key in base64: the one in use, or a new one. */}}
{{- define "gradatim.weaviateKey" -}}
{{- $found := lookup "v1" "Secret" (index . 0).Release.Namespace (printf "gradatim-weaviate-%s" (index . 1)) }}
{{- if $found }}{{ index $found.data "api-key" }}{{ else }}{{ randAlphaNum 40 | b64enc }}{{ end }}
{{- end }}

{{/* One egress rule: ports, and addresses where they are known. */}}
{{- define "gradatim.egress" -}}
- ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .cidrs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  {{- end }}
{{- end }}
