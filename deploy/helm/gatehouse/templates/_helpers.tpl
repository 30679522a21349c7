{{- define "gatehouse.name" -}}
{{- printf "%s-%s" .root.Release.Name .part | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gatehouse.selector" -}}
app.kubernetes.io/name: gatehouse
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "gatehouse.labels" -}}
{{ include "gatehouse.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end -}}

{{/* Environment of every part: names of files, never values of secrets. */}}
{{- define "gatehouse.env" -}}
- {name: PUBLIC_URL, value: {{ .Values.publicUrl | quote }}}
- {name: TRUSTED_PROXIES, value: {{ join "," .Values.trustedProxies | quote }}}
- {name: UPSTREAM_ALLOWED_NETWORKS, value: {{ join "," .Values.upstreamAllowedNetworks | quote }}}
- {name: STDIO_ALLOWED_COMMANDS, value: {{ join "," .Values.stdioAllowedCommands | quote }}}
- {name: MODEL_FOLDERS, value: {{ join "," .Values.modelFolders | quote }}}
- {name: GATEWAY_PROCESSES, value: {{ .Values.gateway.processes | quote }}}
- {name: DATABASE_URL_FILE, value: /run/secrets/gatehouse/database_url}
- {name: SECRET_KEY_FILE, value: /run/secrets/gatehouse/secret.key}
- {name: GATEHOUSE_KEK_FILE, value: /run/secrets/gatehouse/kek.key}
- {name: AUDIT_SIGNING_KEY_FILE, value: /run/secrets/gatehouse/audit-signing.key}
{{- if .Values.redis.enabled }}
- {name: REDIS_URL_FILE, value: /run/secrets/gatehouse/redis_url}
{{- end }}
{{- if .Values.metrics.enabled }}
- {name: METRICS_TOKEN_FILE, value: /run/secrets/gatehouse/metrics_token}
{{- end }}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}

{{/* A pod that runs one part: not root, nothing writable but two small memory-backed folders. */}}
{{- define "gatehouse.pod" -}}
automountServiceAccountToken: false
terminationGracePeriodSeconds: 45
securityContext: {runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: {{ .part }}
    image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: {{ toJson .args }}
    env: {{- include "gatehouse.env" .root | nindent 6 }}
      {{- if .owner }}
      - {name: DATABASE_OWNER_URL_FILE, value: /run/secrets/owner/database_owner_url}
      {{- end }}
    securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    resources: {{- toYaml .resources | nindent 6 }}
    {{- if eq .part "gateway" }}
    ports: [{name: http, containerPort: 8000}]
    startupProbe: {httpGet: {path: /healthz, port: http, httpHeaders: [{name: Host, value: localhost}]}, periodSeconds: 1, failureThreshold: 60}
    readinessProbe: {httpGet: {path: /readyz, port: http, httpHeaders: [{name: Host, value: localhost}]}, periodSeconds: 3, timeoutSeconds: 3, failureThreshold: 2}
    livenessProbe: {httpGet: {path: /healthz, port: http, httpHeaders: [{name: Host, value: localhost}]}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
    {{- end }}
    volumeMounts:
      - {name: keys, mountPath: /run/secrets/gatehouse, readOnly: true}
      {{- if .owner }}
      - {name: owner, mountPath: /run/secrets/owner, readOnly: true}
      {{- end }}
      - {name: data, mountPath: /data}
      - {name: tmp, mountPath: /tmp}
volumes:
  - {name: keys, secret: {secretName: {{ .root.Values.existingSecret | quote }}, defaultMode: 0440}}
  {{- if .owner }}
  - {name: owner, secret: {secretName: {{ .owner | quote }}, defaultMode: 0440}}
  {{- end }}
  - {name: data, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
  - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 64Mi}}
{{- end -}}
