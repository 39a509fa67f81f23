{{/* The alerts of files/alerts.yaml with what depends on the values of the release. Without a limit nothing is too much memory. */}}
{{- define "gradatim.alerts" -}}
{{- $limits := (.Values.operator.resources | default dict).limits | default dict }}
{{- $minutes := max 30 (div (add (mul 4 .Values.operator.resyncSeconds) 59) 60) }}
{{- $groups := list }}
{{- range (.Files.Get "files/alerts.yaml" | fromYaml).groups }}
{{- $rules := list }}
{{- range .rules }}
{{- if eq .alert "GradatimResyncStopped" }}
{{- $rules = append $rules (set . "expr" (replace "[30m]" (printf "[%dm]" $minutes) .expr)) }}
{{- else if ne .alert "GradatimMemoryHigh" }}
{{- $rules = append $rules . }}
{{- else if $limits.memory }}
{{- $rules = append $rules (set . "expr" (replace "536870912" (include "gradatim.bytes" $limits.memory) .expr)) }}
{{- end }}
{{- end }}
{{- $groups = append $groups (set . "rules" $rules) }}
{{- end }}
{{- toYaml (dict "groups" $groups) }}
{{- end }}

{{/* A quantity of Kubernetes in bytes: 512Mi, 1.5G, 5e8, 536870912. */}}
{{- define "gradatim.bytes" -}}
{{- $text := toString . }}
{{- $number := regexFind "^([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?" $text }}
{{- $unit := trimPrefix $number $text }}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 }}
{{- if not (and $number (hasKey $units $unit)) }}
{{- fail (printf "operator.resources.limits.memory is %s, which is no quantity of memory" $text) }}
{{- end }}
{{- mulf $number (get $units $unit) | floor | int64 }}
{{- end }}
