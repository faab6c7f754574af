"""A real job over real data: Seattle's daily weather, a task per month, a chart, a report, an archive.

headrace run examples/weather/weather.py:weather --year 2014 --follow
headrace run examples/weather/weather.py:weather --minimum-days 400 --follow      # fails on purpose: `tell` runs
"""

import csv
import html
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
def validate(rows: list[dict[str, str]], minimum_days: int) -> list[Day]:
    """Enough days, every column there, every number a number, no day twice; else the job fails here and says why."""
    if len(rows) < minimum_days:
        raise Fail(
            f"{len(rows)} days are too few for a report: at least {minimum_days} are asked for", exit_status="NO_DATA"
        )
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
    Path("chart.svg").write_text(chart(summary))
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
    minimum_days: Annotated[int, Param(ge=1, help="no report from fewer days than this")] = 365,
) -> dict[str, float]:
    """Seattle's weather, month by month, as a chart and a report."""
    days = validate(fetch(year), minimum_days)
    tell.after(days, state="failed")(year)
    summary = summarise.map(months(days), days=days)
    totals = report(summary, year=year, title=title)
    script(
        'cp "$HEADRACE_INPUTS"/report/* .\n'
        "tar -czf weather.tar.gz chart.svg report.html\n"
        'echo "packed $(tar -tzf weather.tar.gz | wc -l) files"\n',
        name="pack",
        after=[totals],
        outputs=["weather.tar.gz"],
    )
    return totals


NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
INK, QUIET, GRID, RAIN = "#1d2b36", "#667683", "#e3e9ed", "#86b6d6"
WARM, MILD, COLD = "#e0703a", "#e6c682", "#3f8fc4"
WIDTH, LEFT, RIGHT = 760, 52, 16


def chart(summary: list[Month]) -> str:
    """Two panels over one row of months: coldest to warmest day above, rain below. SVG drawn by hand."""
    step = (WIDTH - LEFT - RIGHT) / len(summary)
    low, high = min(m.low for m in summary), max(m.high for m in summary)
    degrees = Panel(top=44, bottom=232, low=low - low % 10, high=high + -high % 10)
    rain = Panel(top=290, bottom=400, low=0, high=max(m.rain for m in summary) // 50 * 50 + 50)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 432" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="temperature and rain per month">',
        f'<defs><linearGradient id="range" gradientUnits="userSpaceOnUse" x1="0" x2="0" y1="{degrees.top}" '
        f'y2="{degrees.bottom}"><stop offset="0" stop-color="{WARM}"/><stop offset=".55" stop-color="{MILD}"/><stop offset="1" stop-color="{COLD}"/>'
        "</linearGradient></defs>",
        f'<rect width="{WIDTH}" height="432" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" fill="{INK}" font-weight="600">Coldest to warmest day, and the mean, °C</text>',
        *degrees.grid(10),
        f'<text x="{LEFT}" y="272" fill="{INK}" font-weight="600">Rain, mm</text>',
        *rain.grid(50),
    ]
    for place, m in enumerate(summary):
        x, half = LEFT + (place + 0.5) * step, step * 0.3
        parts += [
            f'<rect x="{x - 6:.1f}" y="{degrees.y(m.high):.1f}" width="12" rx="6" '
            f'height="{degrees.y(m.low) - degrees.y(m.high):.1f}" fill="url(#range)"/>',
            f'<circle cx="{x:.1f}" cy="{degrees.y(m.mean):.1f}" r="4" fill="#ffffff" stroke="{INK}" stroke-width="2"/>',
            f'<rect x="{x - half:.1f}" y="{rain.y(m.rain):.1f}" width="{2 * half:.1f}" '
            f'height="{rain.bottom - rain.y(m.rain):.1f}" rx="2" fill="{RAIN}"/>',
            f'<text x="{x:.1f}" y="{rain.y(m.rain) - 5:.1f}" text-anchor="middle" fill="{QUIET}">{m.rain:.0f}</text>',
            f'<text x="{x:.1f}" y="420" text-anchor="middle" fill="{INK}">{NAMES[m.month - 1]}</text>',
        ]
    return "\n".join([*parts, "</svg>"])


@dataclass
class Panel:
    """One scale of the chart: values from ``low`` to ``high`` between ``bottom`` and ``top``."""

    top: float
    bottom: float
    low: float
    high: float

    def y(self, value: float) -> float:
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def grid(self, every: int) -> list[str]:
        """A line and its number for each round value."""
        parts = []
        for value in range(int(self.low), int(self.high) + 1, every):
            y = self.y(value)
            parts += [
                f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>',
                f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="{QUIET}">{value}</text>',
            ]
        return parts


def page(summary: list[Month], year: int, title: str) -> str:
    """The report: figures, the chart, and the table below it; one file without any link to elsewhere."""
    title = html.escape(title)
    figures = {
        "rain": f"{sum(m.rain for m in summary):.0f} mm",
        "wet days": f"{sum(m.wet_days for m in summary)}",
        "warmest day": f"{max(m.high for m in summary):.1f} °C",
        "coldest night": f"{min(m.low for m in summary):.1f} °C",
    }
    cards = "\n".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in figures.items())
    rows = "\n".join(
        f"<tr><td>{NAMES[m.month - 1]}</td><td>{m.days}</td><td>{m.wet_days}</td><td>{m.rain:.1f}</td>"
        f"<td>{m.low:.1f}</td><td>{m.mean:.1f}</td><td>{m.high:.1f}</td></tr>"
        for m in summary
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}, {year}</title>
<style>
 body {{ font: 16px/1.5 system-ui, sans-serif; color: {INK}; background: #f3f6f8; margin: 0; }}
 main {{ max-width: 800px; margin: 2rem auto; padding: 1.5rem 2rem 2rem; background: #fff; border-radius: 12px;
        box-shadow: 0 1px 4px #0002; }}
 h1 {{ margin: 0 0 1rem; font-size: 1.7rem; }} h1 small {{ color: {QUIET}; font-weight: 400; }}
 .figures {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: .8rem; margin-bottom: 1.4rem; }}
 .figures div {{ background: #f3f6f8; border-radius: 8px; padding: .6rem .9rem; }}
 .figures b {{ display: block; font-size: 1.35rem; }} .figures span, footer {{ color: {QUIET}; font-size: .85rem; }}
 svg {{ width: 100%; height: auto; display: block; margin-bottom: 1.2rem; }}
 table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }}
 td, th {{ padding: .32rem .6rem; text-align: right; border-bottom: 1px solid {GRID}; }}
 th {{ color: {QUIET}; font-weight: 500; font-size: .85rem; }} td:first-child, th:first-child {{ text-align: left; }}
 footer {{ margin-top: 1.2rem; }}
</style></head><body><main>
<h1>{title} <small>{year}</small></h1>
<section class="figures">
{cards}
</section>
{chart(summary)}
<table><thead><tr><th>Month</th><th>Days</th><th>Wet days</th><th>Rain, mm</th><th>Coldest, °C</th><th>Mean, °C</th>
<th>Warmest, °C</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<footer>Made by a Headrace run: one task per month. Data: Seattle daily weather, from vega_datasets.</footer>
</main></body></html>
"""
