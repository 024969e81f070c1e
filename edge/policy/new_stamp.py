"""The files of a new stamp: small, sound, and within the rules that every stamp must keep to.

It runs one web service whose image is named by digest, with limits, a readiness probe and a check, so that the first
change to it begins from something that works.
"""

from __future__ import annotations

from string import Template

from pydantic import TypeAdapter, ValidationError

from edge.errors import InvalidInput
from edge.model.names import StampName
from edge.model.stamp import ComponentKind
from edge.policy.yaml_text import plain_value

IMAGE = "ghcr.io/stefanprodan/podinfo:6.11.0@sha256:5b789251f4b35f4ac6319c48b57eb6d29356d67471404c5fd3733db2eb8c11cf"
"""A small web service that answers /readyz; to be replaced by one's own."""

_STAMP = """\
# What sites of this kind run. See docs/stamps.md for everything that may stand here.
apiVersion: edge-platform.io/v1
kind: Stamp
metadata:
  name: $name
spec:
  version: 0.1.0
  description: Made by edge stamp new
  namespaces: [$name]
  parameters:
    replicas:
      type: integer
      description: How many pods serve
      default: 1
      minimum: 1
      maximum: 5
    message:
      description: What the start page says
      default: Hello
      maxLength: 80
  components:
    - name: base
      path: base
    - name: app
      kind: $kind
      path: app
      dependsOn: [base]$more
  requires:
    kubernetes: "1.28"
  checks:
    - name: ready
      type: http
      namespace: $name
      service: $name
      port: http
      path: /readyz
"""
_HELM_VALUES = """
      values:
        image: $image
        replicas: ${replicas}
        message: ${message}"""

_NAMESPACE = """\
apiVersion: v1
kind: Namespace
metadata:
  name: $name
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""

_SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: $name
  namespace: $name
spec:
  selector:
    app.kubernetes.io/name: $name
  ports:
    - name: http
      port: 80
      targetPort: http
"""

_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: $name
  namespace: $name
  labels:
    app.kubernetes.io/name: $name
spec:
  replicas: $replicas
  selector:
    matchLabels:
      app.kubernetes.io/name: $name
  template:
    metadata:
      labels:
        app.kubernetes.io/name: $name
    spec:
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: app
          image: $image
          env:
            - name: PODINFO_UI_MESSAGE
              value: $message
          ports:
            - name: http
              containerPort: 9898
          readinessProbe:
            httpGet:
              path: /readyz
              port: http
            periodSeconds: 5
          livenessProbe:
            httpGet:
              path: /healthz
              port: http
            initialDelaySeconds: 10
          resources:
            requests: {cpu: 25m, memory: 32Mi}
            limits: {cpu: 200m, memory: 64Mi}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
"""

_KUSTOMIZATION = """\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - deployment.yaml
  - service.yaml
"""

_CHART = """\
apiVersion: v2
name: $name
version: 0.1.0
"""


def new_stamp(name: str, kind: ComponentKind = ComponentKind.MANIFESTS) -> dict[str, str]:
    """Path below the stamp's folder -> text. Raises InvalidInput when the name cannot be a stamp's."""
    try:
        TypeAdapter(StampName).validate_python(name)
    except ValidationError as error:
        what = "A stamp's name has lower-case letters, digits and dashes, at most 63"
        raise InvalidInput(what, field="name", value=name[:100]) from error
    if not isinstance(plain_value(name), str):
        raise InvalidInput("YAML would not take this name for text", remedy="Choose another", field="name", value=name)
    values = _filled(_HELM_VALUES, name, replicas="${replicas}", message="${message}")
    more = values if kind is ComponentKind.HELM else ""
    return {
        "stamp.yaml": Template(_STAMP).substitute(name=name, kind=kind, more=more),
        "base/namespace.yaml": _filled(_NAMESPACE, name),
        **{f"app/{path}": text for path, text in _app(name, kind).items()},
    }


def _app(name: str, kind: ComponentKind) -> dict[str, str]:
    if kind is ComponentKind.HELM:
        return {
            "Chart.yaml": _filled(_CHART, name),
            "templates/deployment.yaml": _filled(
                _DEPLOYMENT,
                name,
                replicas="{{ .Values.replicas }}",
                message="{{ .Values.message | quote }}",
                image="{{ .Values.image }}",
            ),
            "templates/service.yaml": _filled(_SERVICE, name),
        }
    plain = {
        "deployment.yaml": _filled(_DEPLOYMENT, name, replicas="${replicas}", message='"${message}"'),
        "service.yaml": _filled(_SERVICE, name),
    }
    return {"kustomization.yaml": _KUSTOMIZATION, **plain} if kind is ComponentKind.KUSTOMIZE else plain


def _filled(text: str, name: str, **values: str) -> str:
    return Template(text).safe_substitute({"name": name, "image": IMAGE, **values})
