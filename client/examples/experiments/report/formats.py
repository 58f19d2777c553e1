"""Formats: how the claims write an estimate with its interval."""


def plain(found, digits):
    return found.text(digits, sign="")


def points(effect, digits=2):
    return effect.text(digits, " points")


def percent(change, digits=1):
    """Of a change, with its sign."""
    return change.scaled(100).text(digits, " %")


def share(part, digits, of=""):
    """Of a part of a whole, without a sign."""
    return part.scaled(100).text(digits, f" %{of}", sign="")


def times(ratio, digits=2):
    return "x" + plain(ratio, digits)
