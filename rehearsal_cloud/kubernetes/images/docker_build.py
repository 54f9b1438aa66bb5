"""Docker builds of a registry task: they run a Dockerfile's instructions on a context, with a log.

A build adds files and Python packages to its base: COPY, and RUN with `pip install`, work. Other commands need a
container: the build fails with a message.
"""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rehearsal_cloud.backends.image_store import Image, Images, Layer, public_image
from rehearsal_cloud.kubernetes.images.builds import BuildFailed
from rehearsal_cloud.kubernetes.images.dockerfile import instructions, words
from rehearsal_cloud.kubernetes.images.recipes import PACKAGES, Recipe, recipe_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rehearsal_cloud.documents import Document
    from rehearsal_cloud.kubernetes.images.builds import ImageBuilds
    from rehearsal_cloud.kubernetes.images.dockerfile import Instruction
    from rehearsal_cloud.store import Store

_REFERENCE = re.compile(
    r"(?:(?P<host>[^/]*[.:][^/]*)/)?(?P<repository>[^:@]+)(?::(?P<tag>[\w.-]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_FILE_OPTIONS = ("-r", "--requirement", "-c", "--constraint")
# They are about pip's folders, which do not exist here.
_IDLE_OPTIONS = ("--no-cache-dir", "--user", "--no-warn-script-location")
_CONSTRAINTS = "home/airflow/constraints.txt"
"""Where Airflow's image keeps what it was built with: https://airflow.apache.org/docs/docker-stack/build.html"""


class BuildError(Exception):
    """The build failed; the message is Docker's."""


class DockerBuild:
    """A build: `context` has files by path, `arguments` the values of ARG; `say` receives the log."""

    def __init__(
        self,
        store: Store,
        builds: ImageBuilds,
        registry: Document,
        context: Mapping[str, bytes],
        arguments: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._store = store
        self._builds = builds
        self._registry = registry
        self._context = context
        self._arguments = arguments
        self._say = say
        self._variables: dict[str, str] = {}
        self._base: Image | None = None
        self._config: Document = {}
        self._layers: list[Layer] = []
        self._steps = {
            "ARG": self._arg,
            "COPY": self._copy,
            "ENV": self._env,
            "LABEL": self._label,
            "USER": self._user,
            "WORKDIR": self._workdir,
        }

    async def run(self, dockerfile: str) -> Image:
        """Run the Dockerfile at this path of the context, and return the image. Raises BuildError."""
        text = self._context.get(dockerfile)
        if text is None:
            raise BuildError(f"unable to prepare context: unable to evaluate symlinks in Dockerfile path: {dockerfile}")
        steps = list(instructions(text.decode()))
        for number, step in enumerate(steps, 1):
            self._say(f"Step {number}/{len(steps)} : {step}")
            if step.name == "FROM":
                self._from(step)
            elif step.name == "RUN" and self._base:
                await self._pip(step)
            elif step.name in self._steps and (self._base or step.name == "ARG"):
                self._steps[step.name](step)
            elif self._base is None:
                raise BuildError("no build stage in current context")
            else:
                raise BuildError(f"the rehearsal does not know the instruction {step.name}")
        if self._base is None:
            raise BuildError("file with no instructions")
        return self._base.extended(self._config, self._layers)

    @property
    def recipe(self) -> Recipe:
        """Return the image's recipe so far."""
        if self._base is None:
            raise BuildError("no build stage in current context")
        built = self._base.extended(self._config, self._layers)
        return recipe_of(built.configuration).with_layers(built.layers)

    # Instructions

    def _from(self, step: Instruction) -> None:
        if self._base is not None:
            raise BuildError("the rehearsal builds images of one stage")
        reference = words(step.arguments, self._variables)[0]
        named = _REFERENCE.fullmatch(reference)
        if named is None:
            raise BuildError("invalid reference format")
        host, repository, tag = named["host"], named["repository"], named["digest"] or named["tag"] or "latest"
        if host == self._registry["properties"]["loginServer"]:
            self._base = Images(self._store, self._registry["id"]).image(repository, tag)
        else:
            full = repository if host or "/" in repository else f"library/{repository}"
            self._base = public_image(host or "docker.io", full, tag)
        if self._base is None:
            raise BuildError(f"manifest for {reference} not found: manifest unknown: manifest unknown")
        self._say(f" ---> {self._base.digest[7:19]}")
        self._config = dict(self._base.configuration["config"])
        self._variables = dict(variable.split("=", 1) for variable in self._config.get("Env") or [])

    def _arg(self, step: Instruction) -> None:
        for word in words(step.arguments, self._variables):
            name, equals, default = word.partition("=")
            if name in self._arguments or equals:
                self._variables[name] = self._arguments.get(name, default)

    def _env(self, step: Instruction) -> None:
        pairs = self._pairs(step)
        self._variables |= pairs
        held = dict(variable.split("=", 1) for variable in self._config.get("Env") or [])
        self._config["Env"] = [f"{name}={value}" for name, value in (held | pairs).items()]

    def _label(self, step: Instruction) -> None:
        self._config["Labels"] = {**(self._config.get("Labels") or {}), **self._pairs(step)}

    def _user(self, step: Instruction) -> None:
        self._config["User"] = " ".join(words(step.arguments, self._variables))

    def _workdir(self, step: Instruction) -> None:
        self._config["WorkingDir"] = f"/{self._place(' '.join(words(step.arguments, self._variables)))}"

    def _copy(self, step: Instruction) -> None:
        *sources, target = [word for word in words(step.arguments, self._variables) if not word.startswith("--")]
        files: dict[str, bytes] = {}
        for source in (str(PurePosixPath(word)).lstrip("/") for word in sources):
            below = {name: text for name, text in self._context.items() if source == "." or _is_in(name, source)}
            if source in self._context:
                into_folder = target.endswith("/") or len(sources) > 1
                name = f"{target}/{PurePosixPath(source).name}" if into_folder else target
                files[self._place(name)] = self._context[source]
            elif below:
                prefix = "" if source == "." else f"{source}/"
                files |= {self._place(f"{target}/{path.removeprefix(prefix)}"): text for path, text in below.items()}
            else:
                raise BuildError(
                    "COPY failed: file not found in build context or excluded by .dockerignore: stat"
                    f" {source}: file does not exist"
                )
        self._layers.append(Layer(str(step), files))

    async def _pip(self, step: Instruction) -> None:
        command = words(step.arguments, self._variables)
        if command[:2] != ["pip", "install"] or any(word in ("&&", ";", "|") for word in command):
            raise BuildError(f"the rehearsal runs pip install, and no other command: {step.arguments}")
        recipe = self.recipe
        # An installer sees only the packages of the environment itself, not those of its base.
        base = recipe.base or recipe
        with TemporaryDirectory() as scratch:
            root = Path(scratch)
            for name, content in {_CONSTRAINTS: base.constraints.encode(), **recipe.files}.items():
                file = root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            arguments = self._options(command[2:], root)
            try:
                added = await self._builds.resolved(base, arguments, root, self._say)
            except BuildFailed as fault:
                # Its first line contains a folder of this machine.
                for line in fault.lines[1:]:
                    self._say(line.replace(scratch, ""))
                shell = "/bin/bash -o pipefail -o errexit -o nounset -o nolog -c"
                raise BuildError(f"The command '{shell} {step.arguments}' returned a non-zero code: 1") from None
        if added:
            self._say(f"Successfully installed {' '.join(package.replace('==', '-') for package in added)}")
            self._layers.append(Layer(str(step), {PACKAGES: "\n".join(added).encode()}))

    def _options(self, options: list[str], root: Path) -> list[str]:
        """Return pip's arguments for uv, with the real paths of files."""
        arguments: list[str] = []
        for option in (part for word in options for part in _split(word)):
            if option in _IDLE_OPTIONS:
                continue
            if not arguments or arguments[-1] not in _FILE_OPTIONS:
                arguments.append(option)
                continue
            file = root / self._place(option)
            if not file.is_file():
                raise BuildError(
                    f"ERROR: Could not open requirements file: [Errno 2] No such file or directory: '{option}'"
                )
            arguments.append(str(file))
        return arguments

    def _pairs(self, step: Instruction) -> dict[str, str]:
        pairs = words(step.arguments, self._variables)
        if "=" not in pairs[0]:
            return {pairs[0]: " ".join(pairs[1:])}
        return dict(pair.split("=", 1) for pair in pairs)

    def _place(self, path: str) -> str:
        """Return a path of the image without its leading slash."""
        return str(PurePosixPath(self._config.get("WorkingDir") or "/") / path).lstrip("/")


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the files of a context, a gzip-compressed tar. Raises BuildError for an invalid archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            files = [member for member in tar if member.isfile()]
            return {member.name.removeprefix("./"): tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]  # a file
    except (tarfile.TarError, OSError) as fault:
        raise BuildError(f"failed to download source code: {fault}") from None


def _split(word: str) -> list[str]:
    name, equals, value = word.partition("=")
    return [name, value] if equals and name in _FILE_OPTIONS else [word]


def _is_in(name: str, folder: str) -> bool:
    return PurePosixPath(name).is_relative_to(folder)
