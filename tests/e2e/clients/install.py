"""Clients from their registries, below build/clients/, each once: what is there in the wanted version is not fetched again."""

import pathlib
import shutil
import subprocess
import sys

from clients.features import BUILD, run, why

HERE = pathlib.Path(__file__).resolve().parent


def _once(folder, want, make):
    """make() fills the folder; a stamp written last says for what. An unfinished or other one is made anew."""
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == want:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        make()
    except (subprocess.SubprocessError, OSError) as error:
        raise SystemExit(f"cannot install {folder.name}: {why(error)}") from error
    stamp.write_text(want)
    return folder


def node():
    """kafkajs; gives the environment that finds it."""
    package = (HERE / "package.json").read_text()
    folder = BUILD / "node"

    def make():
        (folder / "package.json").write_text(package)
        run(["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", folder], 300)

    _once(folder, package, make)
    return {"NODE_PATH": str(folder / "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}


def java(version):
    """Kafka's client and tools of this version and our programs, compiled against them; gives the class path."""
    pom = HERE / "java" / "pom.xml"
    folder = BUILD / f"java-{version}"
    libraries = folder / "lib"

    def make():
        run(["mvn", "-B", "-q", "-f", pom, f"-Dkafka.version={version}", "dependency:copy-dependencies",
             f"-DoutputDirectory={libraries}", "-DincludeScope=runtime"], 600)

    _once(folder, pom.read_text(), make)
    classes = BUILD / f"java-{version}-classes"
    sources = sorted((HERE / "java").glob("*.java"))

    def compile_ours():
        run(["javac", "-nowarn", "-cp", f"{libraries}/*", "-d", classes, *sources], 180)

    _once(classes, "".join(source.read_text() for source in sources), compile_ours)
    return f"{classes}:{libraries}/*"


def python(*requirements):
    """A virtual environment with these; gives its interpreter."""
    folder = BUILD / "python"

    def make():
        run([sys.executable, "-m", "venv", folder], 120)
        run([folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *requirements], 600)

    _once(folder, "\n".join(requirements), make)
    return folder / "bin" / "python"
