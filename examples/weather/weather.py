"""A real job over real data: Seattle's daily weather, a task per month, a chart, a report, an archive.

headrace run examples/weather/weather.py:weather --year 2014 --follow
"""

import csv
import importlib.util
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated

from headrace import Context, Fail, Param, job, script, task

COLUMNS = ("date", "precipitation", "temp_max", "temp_min", "wind", "weather")


@dataclass
class Day:
    day: date
    rain: float
    high: float
    low: float
    kind: str


@dataclass
class Month:
    month: int
    days: int
    wet_days: int
    rain: float
    high: float
    low: float
    mean: float


@task
def fetch(ctx: Context, year: int) -> list[dict[str, str]]:
    """The rows of one year, as the data set has them."""
    package = importlib.util.find_spec("vega_datasets")
    if package is None or package.origin is None:
        raise Fail("the data set is missing: pip install vega_datasets", exit_status="NO_DATA")
    source = Path(package.origin).parent / "_data" / "seattle-weather.csv"
    ctx.log.info("reading %s", source.name)
    with source.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["date"][:4] == str(year)]
    print(f"{len(rows)} days in {year}")
    return rows


@task
def validate(rows: list[dict[str, str]]) -> list[Day]:
    """Every column there, every number a number, no day twice; else the job fails here and says why."""
    if not rows:
        raise Fail("no rows for that year: the data set covers 2012 to 2015", exit_status="NO_DATA")
    missing = set(COLUMNS) - set(rows[0])
    if missing:
        raise Fail(f"columns are missing: {', '.join(sorted(missing))}", exit_status="BAD_DATA")
    days = [
        Day(
            day=date.fromisoformat(row["date"].replace("/", "-")),
            rain=float(row["precipitation"]),
            high=float(row["temp_max"]),
            low=float(row["temp_min"]),
            kind=row["weather"],
        )
        for row in rows
    ]
    if len({d.day for d in days}) != len(days):
        raise Fail("a day stands there twice", exit_status="BAD_DATA")
    return days


@task(retries=2)
def months(days: list[Day]) -> list[int]:
    """The months to work on: one task each."""
    return sorted({d.day.month for d in days})


@task(concurrency=4)
def summarise(month: int, days: list[Day]) -> Month:
    """One month in seven numbers."""
    mine = [d for d in days if d.day.month == month]
    return Month(
        month=month,
        days=len(mine),
        wet_days=sum(d.rain > 0 for d in mine),
        rain=round(sum(d.rain for d in mine), 1),
        high=max(d.high for d in mine),
        low=min(d.low for d in mine),
        mean=round(sum((d.high + d.low) / 2 for d in mine) / len(mine), 1),
    )


@task(outputs=["chart.svg", "report.html"])
def report(summary: list[Month], year: int, title: str) -> dict[str, float]:
    """A chart and an HTML page, left in the working folder as artifacts."""
    Path("chart.svg").write_text(chart(summary, title))
    Path("report.html").write_text(page(summary, year, title))
    return {"rain": round(sum(m.rain for m in summary), 1), "warmest": max(m.high for m in summary)}


@task
def tell(year: int) -> None:
    """Runs only when validation failed."""
    print(f"There will be no report for {year}: see the log of the task before this one.")


@job
def weather(
    year: Annotated[int, Param(ge=2012, le=2015, help="2012 to 2015")] = 2014,
    title: str = "Weather in Seattle",
) -> dict[str, float]:
    """Seattle's weather, month by month, as a chart and a report."""
    days = validate(fetch(year))
    tell.after(days, state="failed")(year)
    summary = summarise.map(months(days), days=days)
    totals = report(summary, year=year, title=title)
    pack = script(
        'cp "$HEADRACE_INPUTS"/report/* .\n'
        "tar -czf weather.tar.gz chart.svg report.html\n"
        'echo "packed $(tar -tzf weather.tar.gz | wc -l) files"\n',
        name="pack",
        outputs=["weather.tar.gz"],
    )
    pack.after(totals)
    return totals


NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def chart(summary: list[Month], title: str) -> str:
    """Bars of rain, a band from the coldest to the warmest day, drawn as SVG by hand."""
    width, height, left, bottom, top = 760, 360, 50, 320, 50
    step = (width - left - 30) / 12
    wettest = max(m.rain for m in summary) or 1
    low, high = min(m.low for m in summary), max(m.high for m in summary)

    def y_of(degrees: float) -> float:
        return bottom - (degrees - low) / ((high - low) or 1) * (bottom - top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{left}" y="28" font-size="18" fill="#1b2a38">{title}</text>',
    ]
    for place, m in enumerate(summary):
        x = left + place * step
        rain = m.rain / wettest * (bottom - top) * 0.6
        parts += [
            f'<rect x="{x + 8:.1f}" y="{bottom - rain:.1f}" width="{step - 16:.1f}" height="{rain:.1f}" fill="#9cc3dc"/>',
            f'<line x1="{x + step / 2:.1f}" x2="{x + step / 2:.1f}" y1="{y_of(m.low):.1f}" y2="{y_of(m.high):.1f}" '
            'stroke="#d9783f" stroke-width="6" stroke-linecap="round"/>',
            f'<circle cx="{x + step / 2:.1f}" cy="{y_of(m.mean):.1f}" r="4" fill="#1b2a38"/>',
            f'<text x="{x + step / 2:.1f}" y="{bottom + 18}" text-anchor="middle" fill="#51616f">{NAMES[m.month - 1]}</text>',
        ]
    parts += [
        f'<text x="{left}" y="{height - 6}" fill="#51616f">bars: rain in mm, wettest month {wettest:.0f} · '
        f"lines: coldest to warmest day in °C, {low:.0f} to {high:.0f} · dots: mean</text>",
        "</svg>",
    ]
    return "\n".join(parts)


def page(summary: list[Month], year: int, title: str) -> str:
    """The report: the chart and the table below it, one file without any link to elsewhere."""
    rows = "\n".join(
        f"<tr><td>{NAMES[m.month - 1]}</td><td>{m.days}</td><td>{m.wet_days}</td><td>{m.rain:.1f}</td>"
        f"<td>{m.low:.1f}</td><td>{m.mean:.1f}</td><td>{m.high:.1f}</td></tr>"
        for m in summary
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}, {year}</title>
<style>
 body {{ font: 16px/1.5 sans-serif; color: #1b2a38; max-width: 800px; margin: 2rem auto; padding: 0 1rem; }}
 table {{ border-collapse: collapse; width: 100%; }} td, th {{ padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #d7dee4; }}
 td:first-child, th:first-child {{ text-align: left; }} svg {{ width: 100%; height: auto; }}
</style></head><body>
<h1>{title}, {year}</h1>
{chart(summary, f"{title}, {year}")}
<table><thead><tr><th>Month</th><th>Days</th><th>Wet days</th><th>Rain, mm</th><th>Coldest, °C</th><th>Mean, °C</th><th>Warmest, °C</th></tr></thead>
<tbody>
{rows}
</tbody></table>
</body></html>
"""
