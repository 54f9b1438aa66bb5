"""Building an image from a context, as Docker does it in a registry task: instruction by instruction, with a log.

What a build adds to its base is files and Python packages. So COPY, and RUN with `pip install`, do what they say; no
other command can be run without a container: the build fails there and says so.
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
# They are about pip's own folders, which are not here.
_IDLE_OPTIONS = ("--no-cache-dir", "--user", "--no-warn-script-location")
_CONSTRAINTS = "home/airflow/constraints.txt"
"""Where Airflow's image keeps what it was built with: https://airflow.apache.org/docs/docker-stack/build.html"""


class BuildError(Exception):
    """The build cannot go on; the message is Docker's."""


class DockerBuild:
    """One build: `context` is files by their paths, `arguments` are what ARG is given, `say` hears the log."""

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
        """Carry out the Dockerfile at that path of the context, and return the image. Raises BuildError."""
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
        """Return what the image is made of so far."""
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
        host, repository, wanted = named["host"], named["repository"], named["digest"] or named["tag"] or "latest"
        if host == self._registry["properties"]["loginServer"]:
            self._base = Images(self._store, self._registry["id"]).image(repository, wanted)
        else:
            full = repository if host or "/" in repository else f"library/{repository}"
            self._base = public_image(host or "docker.io", full, wanted)
        if self._base is None:
            raise BuildError(f"manifest for {reference} not found: manifest unknown: manifest unknown")
        self._say(f" ---> {self._base.digest[7:19]}")
        self._config = dict(self._base.configuration["config"])
        self._variables = dict(one.split("=", 1) for one in self._config.get("Env") or [])

    def _arg(self, step: Instruction) -> None:
        for word in words(step.arguments, self._variables):
            name, given, default = word.partition("=")
            if name in self._arguments or given:
                self._variables[name] = self._arguments.get(name, default)

    def _env(self, step: Instruction) -> None:
        pairs = self._pairs(step)
        self._variables |= pairs
        held = dict(one.split("=", 1) for one in self._config.get("Env") or [])
        self._config["Env"] = [f"{name}={value}" for name, value in (held | pairs).items()]

    def _label(self, step: Instruction) -> None:
        self._config["Labels"] = {**(self._config.get("Labels") or {}), **self._pairs(step)}

    def _user(self, step: Instruction) -> None:
        self._config["User"] = " ".join(words(step.arguments, self._variables))

    def _workdir(self, step: Instruction) -> None:
        self._config["WorkingDir"] = f"/{self._place(' '.join(words(step.arguments, self._variables)))}"

    def _copy(self, step: Instruction) -> None:
        *sources, target = [one for one in words(step.arguments, self._variables) if not one.startswith("--")]
        files: dict[str, bytes] = {}
        for source in (str(PurePosixPath(one)).lstrip("/") for one in sources):
            below = {name: text for name, text in self._context.items() if source == "." or _is_in(name, source)}
            if source in self._context:
                into_folder = target.endswith("/") or len(sources) > 1
                name = f"{target}/{PurePosixPath(source).name}" if into_folder else target
                files[self._place(name)] = self._context[source]
            elif below:
                prefix = "" if source == "." else f"{source}/"
                files |= {self._place(f"{target}/{one.removeprefix(prefix)}"): text for one, text in below.items()}
            else:
                raise BuildError(
                    "COPY failed: file not found in build context or excluded by .dockerignore: stat"
                    f" {source}: file does not exist"
                )
        self._layers.append(Layer(str(step), files))

    async def _pip(self, step: Instruction) -> None:
        given = words(step.arguments, self._variables)
        if given[:2] != ["pip", "install"] or any(one in ("&&", ";", "|") for one in given):
            raise BuildError(f"the rehearsal runs pip install, and no other command: {step.arguments}")
        recipe = self.recipe
        # Packages of its own are all that an environment on top of another shows to an installer.
        whole = recipe.base or recipe
        with TemporaryDirectory() as scratch:
            root = Path(scratch)
            for name, content in {_CONSTRAINTS: whole.constraints.encode(), **recipe.files}.items():
                file = root / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            arguments = self._options(given[2:], root)
            try:
                added = await self._builds.resolved(whole, arguments, root, self._say)
            except BuildFailed as fault:
                # Its first line says which folder of this machine it installs to.
                for line in fault.said[1:]:
                    self._say(line.replace(scratch, ""))
                shell = "/bin/bash -o pipefail -o errexit -o nounset -o nolog -c"
                raise BuildError(f"The command '{shell} {step.arguments}' returned a non-zero code: 1") from None
        if added:
            self._say(f"Successfully installed {' '.join(one.replace('==', '-') for one in added)}")
            self._layers.append(Layer(str(step), {PACKAGES: "\n".join(added).encode()}))

    def _options(self, given: list[str], root: Path) -> list[str]:
        """Return pip's arguments as uv takes them, files where they really are."""
        arguments: list[str] = []
        for one in (part for word in given for part in _split(word)):
            if one in _IDLE_OPTIONS:
                continue
            if not arguments or arguments[-1] not in _FILE_OPTIONS:
                arguments.append(one)
                continue
            file = root / self._place(one)
            if not file.is_file():
                raise BuildError(
                    f"ERROR: Could not open requirements file: [Errno 2] No such file or directory: '{one}'"
                )
            arguments.append(str(file))
        return arguments

    def _pairs(self, step: Instruction) -> dict[str, str]:
        found = words(step.arguments, self._variables)
        if "=" not in found[0]:
            return {found[0]: " ".join(found[1:])}
        return dict(one.split("=", 1) for one in found)

    def _place(self, path: str) -> str:
        """Return a path of the image without the slash that it begins with."""
        return str(PurePosixPath(self._config.get("WorkingDir") or "/") / path).lstrip("/")


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Return the files of a context, a tar that gzip has compressed. Raises BuildError where it is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            files = [one for one in tar if one.isfile()]
            return {one.name.removeprefix("./"): tar.extractfile(one).read() for one in files}  # type: ignore[union-attr]  # a file
    except (tarfile.TarError, OSError) as fault:
        raise BuildError(f"failed to download source code: {fault}") from None


def _split(word: str) -> list[str]:
    name, equals, value = word.partition("=")
    return [name, value] if equals and name in _FILE_OPTIONS else [word]


def _is_in(name: str, folder: str) -> bool:
    return PurePosixPath(name).is_relative_to(folder)
