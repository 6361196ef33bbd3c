"""What report.py and aims.py share: figures from a bench run's sections, and tables."""
import math

MINE, LLAMA, TORCH, LENS = "pythiascope", "llama.cpp", "PyTorch f32", "TransformerLens"
STEADY = 0.1  # if the limits around a turn differ more, its own limit is unknown


def quartiles(values):
    """(lower quartile, median, upper quartile), by linear interpolation."""
    values = sorted(v for v in values if not math.isnan(v))

    def at(q):
        if not values:
            return math.nan
        position = q * (len(values) - 1)
        low = int(position)
        high = min(low + 1, len(values) - 1)
        return values[low] + (position - low) * (values[high] - values[low])
    return at(0.25), at(0.5), at(0.75)


def spread(values, digits=2):
    low, middle, high = quartiles(values)
    if math.isnan(middle):
        return ""
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def tokens(task):
    return 1 if task == "decode" else int(task.split()[1])


class Task:
    """One task of one section: all its groups' rounds."""

    def __init__(self, section, task):
        self.groups = [g["tasks"][task] for g in section["groups"] if task in g["tasks"]]
        self.n = tokens(task)
        self.work = self.groups[0]["work"]

    def turns(self, name):
        """[name, seconds, limit before, limit after] of every turn."""
        return [t for g in self.groups for r in g["rounds"] for t in r if t[0] == name]

    def rates(self, name):
        return [self.n / t[1] for t in self.turns(name)]

    def shares(self, name):
        """Shares of the turns with a steady limit; of all turns if fewer than three are steady."""
        turns = self.turns(name)
        steady = [t for t in turns if abs(t[2] - t[3]) <= STEADY * min(t[2:])]
        return [self.work / t[1] / (0.5 * (t[2] + t[3]))
                for t in (steady if len(steady) >= 3 else turns)]

    def ratios(self, name):
        """Each turn relative to pythiascope's just before it."""
        return [t[1] / before[1] for g in self.groups for r in g["rounds"]
                for before, t in zip(r, r[1:]) if t[0] == name]

    def limits(self):
        return [x for t in self.turns(MINE) for x in t[2:]]


def share_ratios(section, name, case):
    """Each case relative to the plain pass just before it."""
    return [r[name][case]["seconds"] / r[name][case]["plain"]
            for r in section["rounds"] if case in r.get(name, {})]
