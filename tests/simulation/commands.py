"""The words by which a person changes the simulated deployment."""

from collections.abc import Callable
from dataclasses import dataclass

from console import gpu
from tests.simulation.playground import FILMS, Playground

REASON = "WHY"


@dataclass(frozen=True)
class Command:
    """What a person can say. `arguments` are the words in capitals; a reason may have any number of words."""

    usage: str
    effect: str
    act: Callable[..., None]
    needs_deployment: bool = True

    @property
    def words(self) -> tuple[str, ...]:
        """The words that name it."""
        return tuple(word for word in self.usage.split() if not word.isupper())

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows them."""
        return tuple(word for word in self.usage.split() if word.isupper())


def _open(at: Playground, device: str, why: str) -> None:
    gpu.inventory(at.settings, [f"--open={device}", f"--why={why}"])


def _close(at: Playground, device: str, why: str) -> None:
    gpu.inventory(at.settings, [f"--close={device}", f"--why={why}"])


def _route(at: Playground, route: str, why: str) -> None:
    gpu.inventory(at.settings, [f"--route={route}", f"--why={why}"])


def _take(at: Playground, device: str, mib: str) -> None:
    at.host.take(device, int(mib))


def _raise_xid(at: Playground, device: str, number: str) -> None:
    at.host.raise_xid(device, int(number))


COMMANDS = (
    Command("up", "bring everything up, with two 8 GB GPUs and one of 24 GB: GPU-1 to GPU-3", Playground.up, False),
    Command("run FILM", f"send a film through, one of {', '.join(FILMS)}", Playground.run),
    Command("show", "the GPUs, the agent's verdict, the last containers", Playground.show),
    Command("gpu", "what `make gpu` shows of it", lambda at: gpu.inventory(at.settings, [])),
    Command("open DEVICE WHY", "take a GPU out of service by hand", _open),
    Command("close DEVICE WHY", "and put it back", _close),
    Command("route STAGE=POLICY WHY", "auto, gpu or cpu for a stage", _route),
    Command("lose DEVICE", "the GPU falls off the bus", lambda at, device: at.host.lose(device)),
    Command("hot DEVICE", "it slows down, for it is too hot", lambda at, device: at.host.heat(device)),
    Command("take DEVICE MIB", "another program takes VRAM", _take),
    Command("xid DEVICE NUMBER", "the driver reports an error: 79 is fatal, 31 the application's", _raise_xid),
    Command("mismatch", "the driver was updated and not loaded anew", lambda at: at.host.mismatch()),
    Command("unload", "the driver is not loaded", lambda at: at.host.unload()),
    Command("hang", "the driver's library hangs", lambda at: at.host.hang()),
    Command("agent down", "the GPU agent is gone", lambda at: at.agent.stop()),
    Command("agent frozen", "it answers no more", lambda at: at.agent.freeze()),
    Command("agent nonsense", "it answers nonsense", lambda at: at.agent.talk_nonsense()),
    Command("agent up", "it answers again", lambda at: at.agent.restore()),
    Command("heal", "GPUs and driver are well again", lambda at: at.host.heal()),
    Command("down", "stop everything and delete the simulated database", Playground.down, False),
)
