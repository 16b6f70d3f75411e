{{- /* Two installations of one name in different namespaces must not share what has no namespace, hence that is part of the name. */ -}}
{{- define "offshoot.clusterPrefix" -}}
{{ printf "%s-%s" .Release.Namespace .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "offshoot.authorityNamespace" -}}
{{ .Values.authority.namespace | default (printf "%s-authority" (include "offshoot.clusterPrefix" .)) }}
{{- end }}

{{- define "offshoot.clusterName" -}}
{{ include "offshoot.clusterPrefix" . }}-baseline
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

{{- /*
What a baseline is read from. Secrets are among it because forks have the variables that their baseline has. Forks are a Deployment, a Service
and a Secret beside it; RBAC cannot tell theirs from others, the controller can: it changes nothing that it has not made.
*/ -}}
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
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, update, delete]
- apiGroups: [""]
  resources: [services, secrets]
  verbs: [create, update, delete]
{{- end }}

{{- /* Of pods and of what selects them. @param list: the context, the component */ -}}
{{- define "offshoot.selector" -}}
app.kubernetes.io/name: offshoot
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "offshoot.imageName" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "offshoot.image" -}}
image: {{ include "offshoot.imageName" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{- define "offshoot.pod" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "offshoot.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "offshoot.variables" -}}
{{- range $name, $value := . }}
- { name: {{ $name }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}

{{- /*
Of pods that keep nothing: not two of them on one machine, if that can be, and half a minute after that has gone there is another one
elsewhere, not after the five minutes that a cluster gives else. @param list: the context, the component
*/ -}}
{{- define "offshoot.apart" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
tolerations:
  - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }
  - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 30 }
  {{- with $values.tolerations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "offshoot.selector" . | nindent 14 }}
{{- end }}

{{- /* Who drains machines takes one after the other. @param list: the context, the component */ -}}
{{- define "offshoot.budget" -}}
{{- $context := index . 0 -}}
{{- $component := index . 1 -}}
{{- if gt (int (index $context.Values $component).replicas) 1 }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $context.Release.Name }}-{{ $component }}
  namespace: {{ $context.Release.Namespace }}
  labels: {{- include "offshoot.labels" $context | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "offshoot.selector" . | nindent 6 }}
{{- end }}
{{- end }}
