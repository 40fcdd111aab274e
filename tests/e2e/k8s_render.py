"""kubectl renders the Kustomize base, and what it renders fits the binaries: every WEIR_ variable is a setting that the role's
--help names, every port a probe or Service uses exists, every ConfigMap and Secret key referred to is there."""

import pathlib
import subprocess
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROLES = ("frontend", "writer", "reader", "coordinator")


def render():
    text = subprocess.run(["kubectl", "kustomize", str(ROOT / "k8s/base")], check=True, capture_output=True, text=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def help_of(role):
    for preset in ("dev", "release", "clang", "asan"):
        binary = ROOT / "build" / preset / "bin" / f"weir-{role}"
        if binary.exists():
            return subprocess.run([binary, "--help"], check=True, capture_output=True, text=True).stdout
    raise SystemExit(f"weir-{role} is not built")


def check_role(role, deployments, services, keys):
    container = deployments[f"weir-{role}"]["spec"]["template"]["spec"]["containers"][0]
    help_text = help_of(role)
    ports = {port["name"] for port in container["ports"]}
    for variable in container["env"]:
        name = variable["name"]
        if name.startswith("WEIR_"):
            assert name in help_text, f"{role}: {name} is no setting of weir-{role}"
        source = variable.get("valueFrom", {})
        reference = source.get("configMapKeyRef") or source.get("secretKeyRef")
        if reference:
            assert reference["key"] in keys, f"{role}: no key {reference['key']}"
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports, f"{role}: {probe} on an unknown port"
    service = services["weir-frontend" if role == "frontend" else f"weir-{role}s"]
    assert {port["name"] for port in service["spec"]["ports"]} <= ports, f"{role}: the Service names an unknown port"
    labels = deployments[f"weir-{role}"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items(), f"{role}: the Service selects nothing"


def main():
    documents = render()
    by_kind = {}
    for document in documents:
        by_kind.setdefault(document["kind"], {})[document["metadata"]["name"]] = document
    keys = set(by_kind["ConfigMap"]["weir"]["data"]) | set(by_kind["Secret"]["weir"]["stringData"])
    for role in ROLES:
        check_role(role, by_kind["Deployment"], by_kind["Service"], keys)
    print(f"{len(documents)} objects render and fit the binaries")


if __name__ == "__main__":
    sys.exit(main())
