{{/* Names of objects. */}}
{{- define "fairlead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "fairlead.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* What selects the pods of a component. It must never change for a release. Called with (list $ "agent"). */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: {{ default (index . 0).Chart.Name (index . 0).Values.nameOverride }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "fairlead.labels" -}}
{{- $root := index . 0 -}}
{{ include "fairlead.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A map of labels as the flag --agent-nodes takes it. */}}
{{- define "fairlead.nodeLabels" -}}
{{- $pairs := list -}}
{{- range $label, $value := . -}}
{{- $pairs = append $pairs (printf "%s=%s" $label $value) -}}
{{- end -}}
{{- join "," $pairs -}}
{{- end -}}

{{- define "fairlead.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{- define "fairlead.serviceAccount" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $account := (index $root.Values $component).serviceAccount -}}
{{- if $account.name -}}
{{ $account.name }}
{{- else if $account.create -}}
{{ include "fairlead.fullname" $root }}-{{ $component }}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{/* Where pods that cannot rely on Services find the API server. */}}
{{- define "fairlead.apiServerEnv" -}}
{{- with .Values.apiServer.host }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ . | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ $.Values.apiServer.port | int64 | quote }}
{{- end }}
{{- end -}}

{{/* The port of an address such as 0.0.0.0:10249 or [::]:10249. */}}
{{- define "fairlead.port" -}}
{{- regexFind "[0-9]+$" . -}}
{{- end -}}

{{/* The host of such an address, without brackets. */}}
{{- define "fairlead.host" -}}
{{- regexReplaceAll "^\\[?([^\\]]*)\\]?:[0-9]+$" . "${1}" -}}
{{- end -}}

{{/* What cannot be said by the schema, since it is about several values. */}}
{{- define "fairlead.validate" -}}
{{- if .Values.replaceKubeProxy -}}
{{- $kubeconfig := .Values.agent.kubeconfig -}}
{{- if not (or .Values.apiServer.host $kubeconfig.hostPath $kubeconfig.configMap.name) -}}
{{- fail "apiServer.host is empty: the agents serve Services, so they cannot reach the API server through one. Set it to an address that `kubectl config view --minify -o jsonpath='{.clusters[0].cluster.server}'` shows and that the nodes reach, or name a kubeconfig in agent.kubeconfig" -}}
{{- end -}}
{{- if and $kubeconfig.hostPath $kubeconfig.configMap.name -}}
{{- fail "agent.kubeconfig.hostPath and agent.kubeconfig.configMap.name exclude each other" -}}
{{- end -}}
{{- $monitoring := .Values.monitoring -}}
{{- if or $monitoring.serviceMonitor.enabled $monitoring.prometheusRule.enabled $monitoring.dashboard.enabled -}}
{{- $metrics := .Values.agent.metricsBindAddress -}}
{{- if or (not $metrics) (hasPrefix "127." $metrics) (hasPrefix "[::1]" $metrics) -}}
{{- fail (printf "monitoring needs an agent.metricsBindAddress that Prometheus can reach, such as 0.0.0.0:10249; it is %q" $metrics) -}}
{{- end -}}
{{- end -}}
{{- $mode := .Values.agent.detectLocalMode -}}
{{- if and (eq $mode "ClusterCIDR") (not .Values.clusterCIDRs) -}}
{{- fail "agent.detectLocalMode ClusterCIDR needs clusterCIDRs" -}}
{{- end -}}
{{- if and (eq $mode "BridgeInterface") (not .Values.agent.podBridgeInterface) -}}
{{- fail "agent.detectLocalMode BridgeInterface needs agent.podBridgeInterface" -}}
{{- end -}}
{{- if and (eq $mode "InterfaceNamePrefix") (not .Values.agent.podInterfaceNamePrefix) -}}
{{- fail "agent.detectLocalMode InterfaceNamePrefix needs agent.podInterfaceNamePrefix" -}}
{{- end -}}
{{- end -}}
{{- end -}}
