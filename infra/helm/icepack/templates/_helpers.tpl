{{- define "icepack.fullname" -}}
{{- /* A restore goes by its release: the values that it shares with the passes name their objects. */ -}}
{{- if and .Values.fullnameOverride (ne .Values.mode "restore") -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- /* A CronJob's name has at most 52 characters: its jobs' names get 11 more. */ -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "icepack.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "icepack.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "icepack.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The restore's or the job's, as JSON. */ -}}
{{- define "icepack.serviceAccount" -}}
{{- if eq .Values.mode "restore" -}}{{- toJson .Values.restore.serviceAccount -}}{{- else -}}{{- toJson .Values.serviceAccount -}}{{- end -}}
{{- end -}}

{{- define "icepack.serviceAccountName" -}}
{{- $account := include "icepack.serviceAccount" . | fromJson -}}
{{- if $account.create -}}
{{- default (include "icepack.fullname" .) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{- define "icepack.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* A map as TOML: first its own keys, then its tables. Texts and keys are quoted as JSON is, which TOML reads too; numbers are whole. */ -}}
{{- define "icepack.toml" -}}
{{- $prefix := .prefix -}}
{{- range $key, $value := .map -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ template "icepack.tomlKey" $key }} = {{ if kindIs "string" $value }}{{ $value | toRawJson }}{{ else if kindIs "slice" $value }}{{ $value | toRawJson }}{{ else if kindIs "bool" $value }}{{ $value }}{{ else }}{{ int64 $value }}{{ end }}
{{- end -}}
{{- end -}}
{{- range $key, $value := .map -}}
{{- if and (kindIs "map" $value) $value -}}
{{- $path := ternary (include "icepack.tomlKey" $key) (printf "%s.%s" $prefix (include "icepack.tomlKey" $key)) (eq $prefix "") }}
{{- if not (eq (include "icepack.onlyTables" $value) "true") }}

[{{ $path }}]
{{- end -}}
{{ include "icepack.toml" (dict "prefix" $path "map" $value) }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "icepack.tomlKey" -}}
{{- ternary . (. | toRawJson) (regexMatch "^[A-Za-z0-9_-]+$" .) -}}
{{- end -}}

{{- define "icepack.onlyTables" -}}
{{- $only := true -}}
{{- range $value := . -}}{{- if not (kindIs "map" $value) -}}{{- $only = false -}}{{- end -}}{{- end -}}
{{- $only -}}
{{- end -}}

{{- /* config, with what other values say about it. */ -}}
{{- define "icepack.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $_ := required "config.store is not set: say where the tenants are, like s3://bucket/prefix" $config.store -}}
{{- $_ = set $config "spill_dir" "/spill" -}}
{{- if .Values.metrics.pushgateway -}}
{{- $_ = set $config "metrics" (merge (dict "pushgateway" .Values.metrics.pushgateway) (default dict $config.metrics)) -}}
{{- end -}}
{{- include "icepack.toml" (dict "prefix" "" "map" $config) | trim -}}
{{- end -}}

{{- /* Bytes of a size as Kubernetes or icepack writes it: 704Mi, 512MiB, 1G, 1000000. */ -}}
{{- define "icepack.bytes" -}}
{{- $number := regexFind "^[0-9]+" (toString .) | int64 -}}
{{- $unit := regexReplaceAll "^[0-9]+ ?" (toString .) "" | trimSuffix "B" -}}
{{- $units := dict "" 1 "k" 1000 "K" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- if not (hasKey $units $unit) -}}{{- fail (printf "`%v` is not a size that this chart can compare: use whole numbers with Mi, Gi, MiB, GiB" .) -}}{{- end -}}
{{- mul $number (get $units $unit) -}}
{{- end -}}

{{- /* What a schema cannot say, since it compares two values. */ -}}
{{- define "icepack.check" -}}
{{- $limit := include "icepack.bytes" .Values.resources.limits.memory | int64 -}}
{{- $need := add (include "icepack.bytes" (.Values.config.memory_limit | default "512MiB") | int64) 67108864 -}}
{{- if le $limit $need -}}
{{- fail (printf "resources.limits.memory (%s) must be more than config.memory_limit (%s) and 64 MiB together, or the kernel ends the job: raise the one or lower the other" .Values.resources.limits.memory (.Values.config.memory_limit | default "512MiB")) -}}
{{- end -}}
{{- $disk := get .Values.resources.limits "ephemeral-storage" -}}
{{- if and $disk (not .Values.spill.storageClassName) -}}
{{- if le (include "icepack.bytes" $disk | int64) (include "icepack.bytes" .Values.spill.sizeLimit | int64) -}}
{{- fail (printf "resources.limits.ephemeral-storage (%s) must be more than spill.sizeLimit (%s), or the pod is evicted before its spill is full: leave it out, and the chart sets it" $disk .Values.spill.sizeLimit) -}}
{{- end -}}
{{- end -}}
{{- if eq .Values.mode "restore" -}}
{{- include "icepack.checkRestore" . -}}
{{- else -}}
{{- include "icepack.checkPasses" . -}}
{{- end -}}
{{- end -}}

{{- define "icepack.checkRestore" -}}
{{- if .Release.IsUpgrade -}}
{{- fail (printf "mode: restore is a release of its own, and is not upgraded: it starts when it is installed, and never again by itself. Once more, or to go on: helm uninstall %s, then helm install. If %s is the release that makes passes, install the restore under another name" .Release.Name .Release.Name) -}}
{{- end -}}
{{- if not .Values.restore.tenants -}}
{{- fail "restore.tenants is empty: name the tenants whose rows are wanted back; ['*'] is all of them" -}}
{{- end -}}
{{- if not (default dict .Values.config.archive).url -}}
{{- fail "config.archive.url is not set: say which archive the rows are in" -}}
{{- end -}}
{{- end -}}

{{- define "icepack.checkPasses" -}}
{{- if le (int64 .Values.job.activeDeadlineSeconds) (add (int64 .Values.job.finishSeconds) 59) -}}
{{- fail (printf "job.activeDeadlineSeconds (%d) must be more than job.finishSeconds (%d) by a minute at least: no time is left for a pass" (int64 .Values.job.activeDeadlineSeconds) (int64 .Values.job.finishSeconds)) -}}
{{- end -}}
{{- if and .Values.metrics.podMonitor.enabled (ne .Values.mode "watch") -}}
{{- fail "metrics.podMonitor.enabled needs mode: watch, since a job's pod is gone before it is scraped: set metrics.pushgateway instead" -}}
{{- end -}}
{{- if and (eq .Values.mode "watch") (gt (int64 .Values.job.shards) 1) -}}
{{- fail "job.shards needs mode: cronjob: the shards are the indexes of a job" -}}
{{- end -}}
{{- end -}}

{{- define "icepack.podMetadata" -}}
annotations:
  checksum/config: {{ include "icepack.config" . | sha256sum }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
labels:
  {{- /* A label of the pods goes before the common one of its name. */}}
  {{- merge (dict) .Values.podLabels (include "icepack.labels" . | fromYaml) | toYaml | nindent 2 }}
{{- end -}}

{{- /* resources, with the room on the node's disk that the spill's emptyDir may fill; a volume of its own takes none there. */ -}}
{{- define "icepack.resources" -}}
{{- $resources := deepCopy .Values.resources -}}
{{- $requests := default dict $resources.requests -}}
{{- $given := or (hasKey $requests "ephemeral-storage") (hasKey $resources.limits "ephemeral-storage") -}}
{{- if not (or .Values.spill.storageClassName $given) -}}
{{- /* 256 MiB more, since the kubelet counts the logs too; rounded up. */ -}}
{{- $storage := printf "%dMi" (div (add (include "icepack.bytes" .Values.spill.sizeLimit | int64) 269484031) 1048576) -}}
{{- $_ := set $resources "requests" (set $requests "ephemeral-storage" $storage) -}}
{{- $_ = set $resources.limits "ephemeral-storage" $storage -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{- /* topologySpreadConstraints; one that does not say which pods it counts counts this release's. */ -}}
{{- define "icepack.spread" -}}
{{- $selector := dict "matchLabels" (include "icepack.selector" . | fromYaml) -}}
{{- $all := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $all = append $all (set (deepCopy .) "labelSelector" (default $selector .labelSelector)) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{- /* Rules for failed pods: dict "action" FailJob or, for shards, FailIndex. */ -}}
{{- define "icepack.podFailurePolicy" -}}
rules:
  # 2: wrong settings, 5: refused for safety. A person is needed, and trying again only hides it.
  {{- if .codes }}
  # 6: objects are being thawed, which takes hours, and the retries are spent in minutes. The same release once more goes on.
  {{- end }}
  {{- if eq .action "FailIndex" }}
  # One tenant's refusal is no reason to end the other shards. Wrong settings end each shard by itself.
  {{- end }}
  - action: {{ .action }}
    onExitCodes:
      containerName: icepack
      operator: In
      values: [{{ .codes | default (list 2 5) | join ", " }}]
  # Evicted, preempted, a node that is drained: not the job's fault.
  - action: Ignore
    onPodConditions:
      - type: DisruptionTarget
        status: "True"
{{- end -}}

{{- /* The pod of a pass, of watch, of a restore and of the test: dict "root" $ "args" (list …) "restartPolicy" "Never" and, for watch, "listen" true. */ -}}
{{- define "icepack.podSpec" -}}
{{- $root := .root -}}
{{- $v := .root.Values -}}
restartPolicy: {{ .restartPolicy }}
serviceAccountName: {{ include "icepack.serviceAccountName" $root }}
# It never asks the API server. IRSA and others bring a token of their own.
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ int64 $v.terminationGracePeriodSeconds }}
{{- with $v.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $v.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with $v.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- range $key, $value := $v.podSecurityContext }}
  {{- if not (kindIs "invalid" $value) }}
  {{- dict $key $value | toYaml | nindent 2 }}
  {{- end }}
  {{- end }}
{{- with $v.initContainers }}
initContainers:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: icepack
    image: {{ include "icepack.image" $root | quote }}
    imagePullPolicy: {{ $v.image.pullPolicy }}
    args:
      {{- range .args }}
      - {{ . | quote }}
      {{- end }}
    env:
      - name: TMPDIR
        value: /spill
      {{- with $v.aws.region }}
      - name: AWS_REGION
        value: {{ . | quote }}
      {{- end }}
      {{- with $v.aws.endpointUrl }}
      - name: AWS_ENDPOINT_URL
        value: {{ . | quote }}
      {{- end }}
      {{- if $v.aws.allowHttp }}
      - name: AWS_ALLOW_HTTP
        value: "true"
      {{- end }}
      {{- with $v.credentials }}
      {{- $secret := .existingSecret }}
      {{- if eq $v.mode "restore" }}{{ $secret = default .existingSecret $v.restore.existingSecret }}{{ end }}
      {{- if $secret }}
      - name: AWS_ACCESS_KEY_ID
        valueFrom:
          secretKeyRef:
            name: {{ $secret }}
            key: {{ .accessKeyIdKey }}
      - name: AWS_SECRET_ACCESS_KEY
        valueFrom:
          secretKeyRef:
            name: {{ $secret }}
            key: {{ .secretAccessKeyKey }}
      # Of keys that last some hours only; others have none.
      - name: AWS_SESSION_TOKEN
        valueFrom:
          secretKeyRef:
            name: {{ $secret }}
            key: {{ .sessionTokenKey | default "AWS_SESSION_TOKEN" }}
            optional: true
      {{- end }}
      {{- end }}
      {{- with .shards }}
      # Kubernetes tells each pod its index, and not of how many.
      - name: JOB_COMPLETIONS
        value: {{ . | quote }}
      {{- end }}
      {{- with $v.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $v.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if .listen }}
    ports:
      - name: metrics
        containerPort: {{ int64 $v.metrics.port }}
        protocol: TCP
    startupProbe:
      httpGet:
        path: /healthz
        port: metrics
      failureThreshold: 30
      periodSeconds: 5
    livenessProbe:
      httpGet:
        path: /healthz
        port: metrics
      periodSeconds: 30
      failureThreshold: 4
    {{- end }}
    resources:
      {{- include "icepack.resources" $root | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities:
        drop: [ALL]
    volumeMounts:
      - name: config
        mountPath: /etc/icepack
        readOnly: true
      - name: spill
        mountPath: /spill
      {{- with $v.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ include "icepack.fullname" $root }}
  - name: spill
    {{- if $v.spill.storageClassName }}
    ephemeral:
      volumeClaimTemplate:
        spec:
          accessModes: [ReadWriteOnce]
          storageClassName: {{ $v.spill.storageClassName }}
          resources:
            requests:
              storage: {{ $v.spill.sizeLimit }}
    {{- else }}
    emptyDir:
      sizeLimit: {{ $v.spill.sizeLimit }}
    {{- end }}
  {{- with $v.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $v.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $v.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $v.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- include "icepack.spread" $root | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* What every command gets: the file, how to log, which tenants. */ -}}
{{- define "icepack.commonArgs" -}}
{{- $args := list "--config" "/etc/icepack/icepack.toml" "--log-format" .Values.logFormat "--log-level" .Values.logLevel -}}
{{- $tenants := .Values.onlyTenants -}}
{{- if eq .Values.mode "restore" -}}{{- $tenants = .Values.restore.tenants -}}{{- end -}}
{{- range $tenants -}}{{- $args = concat $args (list "--tenant" .) -}}{{- end -}}
{{- toJson $args -}}
{{- end -}}

{{- /* What a restore gets: one flag for each value that is given. */ -}}
{{- define "icepack.restoreArgs" -}}
{{- $args := list -}}
{{- $r := .Values.restore -}}
{{- range $flag := list "from" "to" "into" "as" "tier" "hold" -}}
{{- with get $r $flag -}}{{- $args = concat $args (list (printf "--%s" $flag) .) -}}{{- end -}}
{{- end -}}
{{- with $r.days -}}{{- $args = concat $args (list "--days" (int64 . | toString)) -}}{{- end -}}
{{- if $r.dryRun -}}
{{- $args = append $args "--dry-run" -}}
{{- else if $r.wait -}}
{{- $args = append $args "--wait" -}}
{{- end -}}
{{- concat $args $r.extraArgs | toJson -}}
{{- end -}}
