"""The container files without a container engine: linted, and the Dockerfile's own commands run in a bare environment.

Every COPY and RUN of the build stage is carried out below a temporary folder that stands for the image's root; then the
image's entry point makes a key, serves as an ordinary user with nothing in its environment but the image's ENV, passes
the image's own health check, and answers a request. What only an engine can show (the base image, layers, the volume's
owner) is not shown. Exits 1 where something fails, naming the line of the Dockerfile.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPO = Path(__file__).resolve().parent.parent
DOCKERFILE = REPO / "Dockerfile"
IMAGE_FOLDERS = re.compile(r"(?<![\w./-])/(src|opt|dist|var/lib/tollgate)\b")
IMAGE_PORT = "8080"
NOBODY = 65534
# How this machine reaches its package index; an engine would be told the same by its own means.
NETWORK = ("PIP_", "UV_", "SSL_", "REQUESTS_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
READY_S = 60.0


@dataclass(frozen=True)
class Step:
    """One instruction: its line in the file, its word, and the rest of it with continued lines joined."""

    line: int
    word: str
    rest: str


def steps_of(text: str) -> list[list[Step]]:
    """The instructions of each stage."""
    stages: list[list[Step]] = []
    held, started = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not held and (not line.strip() or line.startswith("#")):
            continue
        started = started if held else number
        held += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        word, _, rest = held.strip().partition(" ")
        held = ""
        if word == "FROM":
            stages.append([])
        stages[-1].append(Step(started, word, rest.strip()))
    return stages


def rooted(text: str, root: Path) -> str:
    """The image's own folders below the root that stands for it."""
    return IMAGE_FOLDERS.sub(lambda found: f"{root}/{found[1]}", text)


def build(steps: list[Step], root: Path, environment: dict[str, str]) -> None:
    """Carry out the build stage. Raises SystemExit naming the line that failed."""
    where = root
    for step in steps:
        print(f"Dockerfile:{step.line}: {step.word} {step.rest[:90]}", flush=True)
        if step.word == "WORKDIR":
            where = Path(rooted(step.rest, root))
            where.mkdir(parents=True, exist_ok=True)
        elif step.word == "COPY":
            *sources, target = step.rest.split()
            for source in sources:
                copy(REPO / source, where / target, into=len(sources) > 1 or target.endswith("/"))
        elif step.word == "RUN":
            command = rooted(step.rest, root)
            done = subprocess.run(["/bin/sh", "-ec", command], cwd=where, env=environment, check=False)
            if done.returncode:
                raise SystemExit(f"Dockerfile:{step.line}: exit {done.returncode}")


def copy(source: Path, target: Path, *, into: bool) -> None:
    """What COPY does with one source."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target / source.name if into or target.is_dir() else target)


def plain_python() -> Path:
    """The system's Python where it is new enough, since every user can run that one; else the one that runs this."""
    found = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    old = "import sys; sys.exit(sys.version_info < (3, 11))"
    if found and subprocess.run([found, "-c", old], check=False).returncode == 0:
        return Path(found)
    return Path(sys.base_prefix) / "bin" / "python3"


def ordinary_user(program: str) -> dict[str, object]:
    """Arguments that start a process as an ordinary user; none where this one is no root, or others cannot run it."""
    if os.geteuid() != 0:
        return {}
    user: dict[str, object] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    try:
        subprocess.run([program, "--version"], check=True, capture_output=True, cwd="/", **user)  # type: ignore[call-overload]
    except (OSError, subprocess.CalledProcessError):
        print(f"{program} cannot be run by an ordinary user here: going on as root", flush=True)
        return {}
    return user


def free_port() -> str:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@contextlib.contextmanager
def serving(
    command: list[str], environment: dict[str, str], home: Path, user: dict[str, object]
) -> Iterator[subprocess.Popen[bytes]]:
    """The image's process, ended at the end."""
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL, **user)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def run_image(steps: list[Step], root: Path) -> None:
    """Make a key, serve, pass the health check, answer. Raises SystemExit."""
    port = free_port()
    environment = {"TOLLGATE_SIMULATE": "1"}
    for step in steps:
        if step.word == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rooted(step.rest, root)))
    environment |= {"PATH": environment["PATH"].replace("$PATH", "/usr/bin:/bin"), "TOLLGATE_PORT": port}
    home = Path(environment["TOLLGATE_HOME"])
    home.mkdir(parents=True)
    if os.geteuid() == 0:
        for folder in (root, *home.parents):
            if folder.is_relative_to(root):
                folder.chmod(0o755)
        os.chown(home, NOBODY, NOBODY)
    parts = {step.word: json.loads(step.rest) for step in steps if step.word in ("ENTRYPOINT", "CMD")}
    program = [str(root / "opt/tollgate/bin" / parts["ENTRYPOINT"][0]), *parts["ENTRYPOINT"][1:]]
    user = ordinary_user(program[0])
    made = subprocess.run(  # type: ignore[call-overload]
        [*program, "keys", "create", "--team", "demo", "--json"],
        cwd=home,
        env=environment,
        capture_output=True,
        check=True,
        **user,
    )
    key = json.loads(made.stdout)["key"]
    health = next(step for step in steps if step.word == "HEALTHCHECK")
    probe = json.loads(health.rest[health.rest.index("CMD") + 3 :].replace(IMAGE_PORT, port))
    with serving([*program, *parts["CMD"]], environment, home, user) as process:
        require_health(probe, environment, process)
        print(f"Dockerfile:{health.line}: HEALTHCHECK passed", flush=True)
        print(f"answered by {answer_of(port, key)}", flush=True)


def require_health(probe: list[str], environment: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    """Run the image's health check until it passes. Raises SystemExit when it never does."""
    deadline = time.monotonic() + READY_S
    while process.poll() is None and time.monotonic() < deadline:
        if subprocess.run(probe, env=environment, check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    raise SystemExit("the image's health check never passed")


def answer_of(port: str, key: str) -> str:
    """The model that answers a routed request."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]})
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        body.encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(answer.headers["x-router-model"])


def main() -> int:
    """Lint, build, run."""
    lint = subprocess.run([str(Path(sys.executable).parent / "hadolint"), str(DOCKERFILE)], check=False)
    if lint.returncode:
        return 1
    stages = steps_of(DOCKERFILE.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="tollgate-image-") as folder:
        root = Path(folder)
        programs = root / "usr/bin"
        programs.mkdir(parents=True)
        (programs / "python").symlink_to(plain_python())
        bare = {name: value for name, value in os.environ.items() if name.upper().startswith(NETWORK)}
        build(stages[0][1:], root, bare | {"PATH": f"{programs}:/usr/bin:/bin", "HOME": folder})
        run_image(stages[1], root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
