"""Runs the commands of docs/install.md as they stand there, each section in a shell of its own, for tests/packages/overlay.
What needs a daemon or a cluster is carried out by a stand-in, a function of this file under the name of the program: it checks
what can be known without. `python tests/packages/document.py PACKAGES`, with the Python of target/package-tools."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile

PROGRAMS = ["docker", "helm", "kubectl", "systemctl", "sudo", "cargo", "package"]
BUILT = "target/package-files/roomcast"


def published(arguments):
    """The ports of a container that are published, each of which the image exposes."""
    ports = {argument.rsplit(":", 1)[1] for flag, argument in zip(arguments, arguments[1:]) if flag == "-p"}
    exposed = re.search(r"^EXPOSE (.*)$", pathlib.Path("Dockerfile").read_text(), re.MULTILINE)[1].split()
    assert ports == set(exposed), f"{ports} of {exposed}"


def compose(file_flag, file, command, *flags):
    tool = [f"{sys.prefix}/bin/docker-compose", file_flag, file]
    subprocess.run([*tool, "config", "--quiet"], check=True)
    known = subprocess.run([*tool, command, "--help"], check=True, capture_output=True, text=True).stdout
    assert all(flag in known for flag in flags if flag.startswith("--")), flags


def docker(command, *arguments):
    match command:
        case "build":
            assert arguments[-1] == "." and pathlib.Path("Dockerfile").exists()
        case "run":
            assert arguments[-1] == "roomcast", arguments
            published(arguments)
        case "exec":
            assert arguments[1] == "/usr/bin/roomcast", arguments
            subprocess.run([BUILT, *arguments[2:]], check=True)
        case "load":
            with tarfile.open(arguments[1]) as image:
                assert "manifest.json" in image.getnames(), image.getnames()
        case "compose":
            compose(*arguments)
        case "stop":
            assert arguments == ("-t", "45", "roomcast"), arguments
        case _:
            raise AssertionError(f"docker {command}")


def helm(command, name, chart, *flags):
    import helm_python

    assert command in ("install", "upgrade"), command
    texts = [value for flag, value in zip(flags, flags[1:]) if flag == "--set"]
    with helm_python.Chart.load(chart) as loaded:
        loaded.render(helm_python.parse_set_string(",".join(texts)), name=name)


def kubectl(*arguments):
    match arguments:
        case ("port-forward", "service/chat", "3000:3000"):
            pass
        case ("create", "secret", "generic", "chat-nats", url):
            assert url.startswith("--from-literal=url=nats://"), url
        case _:
            raise AssertionError(f"kubectl {arguments}")


def systemctl(*arguments):
    """Without a running systemd a unit can be enabled, and must be there for what else is asked."""
    if "roomcast" in arguments:
        known = {"status", "restart", "enable", "disable", "--now", "roomcast"}
        assert known.issuperset(arguments), arguments
        places = ["/lib/systemd/system", "/etc/systemd/system"]
        assert any(pathlib.Path(place, "roomcast.service").exists() for place in places), "there is no unit"
        if arguments[0] in ("enable", "disable"):
            subprocess.run(["/usr/bin/systemctl", arguments[0], "roomcast"], check=True)
    else:
        assert arguments == ("daemon-reload",), arguments


def sudo(*command):
    if command[0] == "-u":
        user = command[1]
        command = ("setpriv", "--reuid", user, "--regid", user, "--clear-groups", *command[2:])
    os.execvp(command[0], command)


def cargo(*arguments):
    """Builds nothing: the server is the one that the packages are made of."""
    assert arguments == ("build", "--release", "--locked"), arguments
    os.makedirs("target/release", exist_ok=True)
    shutil.copy(BUILT, "target/release/roomcast")


def package():
    """Makes nothing: the packages are there."""


def sections(text):
    """The commands below each heading, a command that goes on in the next line as one."""
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        lines = "\n".join(re.findall(r"^```console\n(.*?)^```", section, re.MULTILINE | re.DOTALL))
        commands = [line.removeprefix("$ ") for line in lines.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
        yield section.splitlines()[0], commands


def install_stand_ins(folder):
    for program in PROGRAMS:
        stand_in = folder / program
        stand_in.write_text(f'#!/bin/sh\nexec {sys.executable} {os.path.realpath(__file__)} --as {program} "$@"\n')
        stand_in.chmod(0o755)
    shutil.copy(folder / "package", "scripts/package")
    os.environ["PATH"] = f"{folder}:{os.environ['PATH']}"


def run_document(packages):
    shutil.rmtree("target/packages", ignore_errors=True)
    shutil.copytree(packages, "target/packages")
    folder = pathlib.Path("/stand-ins")
    folder.mkdir()
    install_stand_ins(folder)
    ran = 0
    for heading, commands in sections(pathlib.Path("docs/install.md").read_text()):
        script = "\n".join(["set -euo pipefail", *commands])
        done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, f"{heading}\n{script}\n{done.stdout}{done.stderr}"
        ran += len(commands)
    return ran


if __name__ == "__main__":
    if sys.argv[1] == "--as":
        globals()[sys.argv[2]](*sys.argv[3:])
    else:
        print(run_document(sys.argv[1]))
