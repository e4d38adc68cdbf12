"""The sessions of a run's life that are killed or starved: each prepares the world, then acts."""

from disk import Die, Disk
from forks import Died, forked
from world import command

from xtrain.runs.run import Run


class Life:
    """What happens in one session, and what the run left alone comes to.

    Args:
        world: in which it happens.
        name: of `LIVES`.

    """

    def __init__(self, world, name):
        self.name, self.world = name, world
        world.settings, self._prepare, self._act = LIVES[name]
        self._before = world.root.parent / f"before {name}"
        world.back_to(None)
        alone = forked(world.train)
        assert alone.code == 0, alone
        self.alone = world.state()
        self._begun = self._prepare(world)
        world.furnish()
        if self._begun:
            world.run.rename(self._before)
        self.outside = world.outside()
        self.watch()

    def met(self, meet):
        """What the session comes to where `meet` is met at each operation, and the world then."""
        self.world.back_to(self._before if self._begun else None)
        return forked(self._met, meet)

    def _met(self, meet):
        Disk(self.world.root, meet).install()
        return self._act(self.world)

    def watch(self):
        """Learn the operations of the session left alone, and what `last` names before each."""
        self.world.back_to(self._before if self._begun else None)
        self.operations, self.lasts, escaped, done = forked(self._watching)
        assert done.code == 0, done
        assert not escaped

    def _watching(self):
        lasts, last = [], self.world.run / "checkpoints" / "last"

        def noting(disk, operation):
            text = last.read_text(encoding="utf-8") if last.is_file() else ""
            lasts.append(int(text.strip().rpartition("-")[2] or 0))
            return operation.do()

        disk = Disk(self.world.root, noting).install()
        done = self._act(self.world)
        return [operation.name for operation in disk.operations], lasts, disk.escaped, done


def _empty(world):
    """No run yet, and an empty directory in its place."""
    world.back_to(None)
    world.run.mkdir()
    return True


def killed_in_a_save(world, which=3):
    """Leave a run that was killed in a save, with records beyond its checkpoint and a half-written one."""
    world.back_to(None)

    def die(disk, operation):
        made = [each for each in disk.operations if each.name == "rename" and "/.step-" in str(each.given[0])]
        return Die(operation.number if len(made) == which else 0, "before")(disk, operation)

    def killed():
        Disk(world.root, die).install()
        return world.train()

    assert isinstance(forked(killed), Died)
    assert any((world.run / "checkpoints").glob(".step-*"))
    return True


def _finished(world):
    """A finished run, of which all checkpoints were kept up to the end."""
    world.back_to(None)
    done = forked(world.train)
    assert done.code == 0, done
    return True


def _set_back(world):
    """Go on from the best checkpoint, so that later ones are met and replaced."""
    return command("run", "--resume", world.run / "checkpoints" / f"step-{_best(world)}")


def _best(world):
    return int(Run(world.run).checkpoint("best").name.rpartition("-")[2])


LIVES = {
    "train": ((), lambda world: world.back_to(None), lambda world: world.train()),
    "train in an empty directory": (
        ("--set", "stopping.restore_best=false"),
        _empty,
        lambda world: world.train(),
    ),
    "resume": ((), killed_in_a_save, lambda world: world.go_on()),
    "set back": ((), _finished, _set_back),
}
"""For each life: settings of its recipe, what there is before (nothing where that is falsy), the session."""
