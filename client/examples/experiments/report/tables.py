"""Tables: what the experiments wrote, as lists of rows by column name."""

import csv
import pathlib


def number_or_text(text):
    try:
        return float(text)
    except ValueError:
        return text


def read(folder, name):
    """The rows of folder/name.csv; an empty list where there is no such file."""
    path = pathlib.Path(folder) / f"{name}.csv"
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [{column: number_or_text(value) for column, value in row.items()}
                for row in csv.DictReader(file)]


def read_all(folder):
    """All tables of a folder, by name."""
    return {name: read(folder, name)
            for name in ("rule", "batch", "quadratic", "images", "images_loss",
                         "images_noise", "link", "loopback")}


def select(rows, **wanted):
    """The rows whose columns are these."""
    return [row for row in rows
            if all(row[column] == value for column, value in wanted.items())]


def write(folder, name, columns, rows):
    path = pathlib.Path(folder) / f"{name}.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
