{{- /* Two installations of one name in different namespaces must not share what has no namespace, hence that is part of the name. */ -}}
{{- define "offshoot.clusterName" -}}
{{ printf "%s-%s" .Release.Namespace .Release.Name | trunc 50 | trimSuffix "-" }}-baseline
{{- end }}

{{- define "offshoot.runnerName" -}}
{{ printf "%s-%s" .Release.Namespace .Release.Name | trunc 50 | trimSuffix "-" }}-steps
{{- end }}

{{- define "offshoot.labels" -}}
app.kubernetes.io/name: offshoot
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* What a baseline is read from. Secrets are among it because forks have the variables that their baseline has. */ -}}
{{- define "offshoot.baselineRules" -}}
- apiGroups: [""]
  resources: [pods, services, configmaps, secrets, replicationcontrollers]
  verbs: [get, list, watch]
- apiGroups: [apps]
  resources: [deployments, statefulsets, daemonsets, replicasets]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [jobs, cronjobs]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [argoproj.io]
  resources: [rollouts]
  verbs: [get, list, watch]
{{- end }}
