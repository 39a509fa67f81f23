"""Options and argument types that commands share: cluster, output, kinds, durations.

Used by every command module. Names are those of kubectl wherever it has one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from gradatim.api.kinds import Kind
    from gradatim.client import Client

F = TypeVar("F", bound=Callable[..., Any])
_NAMED = "gradatim.name"  # where KIND/NAME leaves its name
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which cluster and namespace a command acts on."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None
    state: Path | None

    def client(self) -> Client:
        """Return a client; raises `NotConfiguredError` if there is no cluster."""
        from gradatim.client import Client

        return Client(self.kubeconfig, context=self.context, namespace=self.namespace, state=self.state)


def cluster_options(function: F) -> F:
    """Add the options that choose a cluster; the command gets them as `cluster`."""

    @click.option(
        "--kubeconfig",
        metavar="FILE",
        help="Default: that of --state, $KUBECONFIG, the local platform, ~/.kube/config.",
    )
    @click.option("--context", metavar="NAME", help="Context of the kubeconfig.")
    @click.option("-n", "--namespace", metavar="NAME", help="Default: the context's namespace.")
    @state_option
    @functools.wraps(function)
    def wrapped(
        *args: object,
        kubeconfig: str | None,
        context: str | None,
        namespace: str | None,
        state: Path | None,
        **kwargs: object,
    ) -> object:
        return function(*args, cluster=Cluster(kubeconfig, context, namespace, state), **kwargs)

    return wrapped  # type: ignore[return-value]


def state_option(function: F) -> F:
    """Add `--state`, the local platform's folder."""
    return click.option(
        "--state",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="State folder of the local platform. Default: $GRADATIM_STATE, ~/.local/state/gradatim.",
    )(function)


def output_option(*, wide: bool = False) -> Callable[[F], F]:
    """Add `--output`; `table` is for people, the others for programs."""
    choices = ["table", *(["wide"] if wide else []), "json", "yaml"]
    return click.option(
        "-o", "--output", type=click.Choice(choices), default="table", show_default=True, help="Output format."
    )


class KindType(click.ParamType[Any]):
    """A kind by name, plural or short name."""

    name = "kind"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Kind:
        """Return the kind; an unknown one is a usage error that names those there are.

        KIND/NAME keeps the name for the argument NAME.
        """
        from gradatim.api.kinds import Kind, kind_of

        if isinstance(value, Kind):
            return value
        value, slash, name = value.partition("/")
        if slash and not name:
            self.fail(f"a name is missing after {value}/", param, ctx)
        if slash and ctx is not None:
            ctx.meta[_NAMED] = name
        try:
            return kind_of(value)
        except KeyError as error:
            self.fail(str(error.args[0]), param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of kinds."""
        del ctx, param
        from gradatim.api.kinds import KINDS

        return [CompletionItem(k.singular) for k in KINDS if k.singular.startswith(incomplete.lower())]


class Duration(click.ParamType[Any]):
    """A time span: 90, 90s, 30m, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        text = str(value).strip()
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        if not re.fullmatch(f"(?:{_DURATION.pattern.replace('?P<number>', '').replace('?P<unit>', '')})+", text):
            self.fail(f"{value!r} is not a duration such as 90s, 30m or 1h30m", param, ctx)
        return sum(float(m["number"]) * _SECONDS[m["unit"]] for m in _DURATION.finditer(text))


class NameArgument(click.Argument):
    """The argument NAME, which may also have come as KIND/NAME."""

    def consume_value(self, ctx: click.Context, opts: Mapping[str, Any]) -> tuple[Any, ParameterSource]:
        """Return the name, or those names; one given twice is a usage error."""
        value, source = super().consume_value(ctx, opts)
        named = ctx.meta.pop(_NAMED, None)
        if named is None or ctx.resilient_parsing:  # completion reports no errors
            return value, source
        if source is ParameterSource.COMMANDLINE and value:
            raise click.UsageError(f"{named} was given with its kind, so no other name can follow", ctx)
        return (named,) if self.nargs == -1 else named, ParameterSource.COMMANDLINE

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the names of the kind's objects; nothing where the cluster does not answer."""
        from gradatim.api.kinds import kind_of
        from gradatim.client.errors import GradatimError

        given = ctx.params
        if "kind" in given and (given["kind"] is None or _NAMED in ctx.meta):
            return []
        kind: Kind = given.get("kind") or kind_of("RAGIndex")  # commands about indexes name no kind
        where = Cluster(given.get("kubeconfig"), given.get("context"), given.get("namespace"), given.get("state"))
        try:
            with where.client() as client:
                found = client.names(kind.name)
        except GradatimError:
            return []
        return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def kind_argument(function: F) -> F:
    """Add the argument KIND, which takes KIND/NAME too."""
    return click.argument("kind", type=KindType())(function)


def name_argument(function: F) -> F:
    """Add the argument NAME."""
    return click.argument("name", cls=NameArgument)(function)
