"""The page's style sheet: light, dark and print from one set of variables, nothing from elsewhere."""

from .html import Html

STYLE = Html(
    """
:root {
  --paper: #f6f7f9; --card: #ffffff; --ink: #1a2330; --muted: #5a6778; --grid: #e4e8ee; --line: #dde2ea;
  --accent: #0b5cad; --wash: #eaf2fb;
  --good: #0f7b56; --good-wash: #e2f4ec; --bad: #b3261e; --bad-wash: #fce9e7;
  --warn: #8a5a00; --warn-wash: #fdf1d8; --idle: #5a6778; --idle-wash: #eef1f5;
  --s1: #0b63b5; --s2: #d2560b; --s3: #0a8a63; --s4: #b8548e; --s5: #a87500; --s6: #4a9fd8;
  --font: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  color-scheme: light dark;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #10151c; --card: #181f29; --ink: #e6ebf2; --muted: #9aa7b8; --grid: #293342; --line: #2b3545;
    --accent: #7db7f2; --wash: #1b2a3d;
    --good: #5fd0a3; --good-wash: #15342a; --bad: #ff9a8f; --bad-wash: #3d1f1e;
    --warn: #f0c368; --warn-wash: #382c12; --idle: #9aa7b8; --idle-wash: #232c39;
    --s1: #6db3f5; --s2: #ff9d5c; --s3: #4fd1a5; --s4: #e79ac9; --s5: #ecc55d; --s6: #a9d5f5;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.55 var(--font);
  -webkit-text-size-adjust: 100%; }
main, header.top > div, footer { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
a { color: var(--accent); }
header.top { background: var(--card); border-bottom: 1px solid var(--line); padding: 30px 0 22px; }
header.top .brand { color: var(--muted); font-size: 13px; letter-spacing: .02em; margin: 0 0 6px; }
h1 { font-size: 29px; line-height: 1.2; margin: 0; letter-spacing: -.012em; overflow-wrap: anywhere; }
.lead { color: var(--muted); margin: 8px 0 0; max-width: 78ch; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 16px; font-size: 14px; }
nav a { text-decoration: none; padding: 2px 0; border-bottom: 1px solid transparent; }
nav a:hover, nav a:focus-visible { border-bottom-color: currentColor; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 22px 24px;
  margin: 20px 0; }
h2 { font-size: 19px; margin: 0 0 4px; letter-spacing: -.005em; }
h3 { font-size: 15px; margin: 22px 0 6px; }
.intro { color: var(--muted); margin: 2px 0 14px; max-width: 84ch; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(168px, 1fr)); gap: 12px;
  margin: 20px 0 0; }
.fact { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 13px 16px; }
.fact b { display: block; font-size: 22px; line-height: 1.25; font-weight: 650; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.fact b small { font-size: 13px; font-weight: 500; color: var(--muted); letter-spacing: 0;
  white-space: nowrap; }
.fact span { color: var(--muted); font-size: 13px; }
.fact.good { background: var(--good-wash); border-color: transparent; } .fact.good b { color: var(--good); }
.fact.bad { background: var(--bad-wash); border-color: transparent; } .fact.bad b { color: var(--bad); }
.scroll { overflow-x: auto; margin: 10px 0 4px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; color: var(--muted); font-size: 13px; padding: 0 0 6px; }
th, td { text-align: left; padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { font-size: 12.5px; font-weight: 600; color: var(--muted); border-bottom: 1.5px solid var(--line);
  white-space: nowrap; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody tr:last-child th, tbody tr:last-child td { border-bottom: 0; }
td.num, th.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding-right: 18px; }
td small, th small { color: var(--muted); font-weight: 400; font-size: 12.5px; }
td small.block, th small.block { display: block; }
.pill { display: inline-block; border-radius: 999px; padding: 1px 10px 2px; font-size: 12.5px;
  font-weight: 600; white-space: nowrap; }
.pill.good { color: var(--good); background: var(--good-wash); }
.pill.bad { color: var(--bad); background: var(--bad-wash); }
.pill.warn { color: var(--warn); background: var(--warn-wash); }
.pill.idle { color: var(--idle); background: var(--idle-wash); }
.meter { display: block; width: 100%; min-width: 96px; height: 6px; margin-top: 8px; border-radius: 3px;
  background: var(--grid); overflow: hidden; }
.meter i { display: block; height: 100%; border-radius: 3px; background: var(--good); }
.meter.bad i { background: var(--bad); }
.figures { display: grid; grid-template-columns: 1fr; gap: 18px 26px; margin-top: 14px; align-items: start; }
@media (min-width: 760px) { .figures.two, .figures.three { grid-template-columns: 1fr 1fr; } }
@media (min-width: 1060px) { .figures.three { grid-template-columns: 1fr 1fr 1fr; } }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; }
figure .title { font-weight: 600; font-size: 14px; margin: 0 0 2px 2px; }
figcaption { color: var(--muted); font-size: 13px; margin-top: 6px; max-width: 78ch; }
.evidence { background: var(--wash); border-left: 3px solid var(--accent); border-radius: 0 8px 8px 0;
  padding: 11px 16px; margin: 12px 0 16px; font-weight: 550; overflow-wrap: anywhere; }
.measure { white-space: nowrap; } .measure + .measure { margin-top: 3px; }
.intro.after { margin: 10px 0 0; }
.notes li { margin: 4px 0; overflow-wrap: anywhere; }
code { font: 12.5px/1.5 var(--mono); overflow-wrap: anywhere; }
dl.pairs { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 10px 0 0;
  font-size: 14px; }
dl.pairs dt { color: var(--muted); } dl.pairs dd { margin: 0; overflow-wrap: anywhere; }
details > img { display: block; max-width: 100%; height: auto; margin-top: 12px; border-radius: 8px; }
details > summary { cursor: pointer; color: var(--accent); font-size: 14px; margin-top: 14px; }
footer { color: var(--muted); font-size: 13px; padding-top: 4px; padding-bottom: 40px; }
@media (max-width: 640px) { main, header.top > div, footer { padding: 0 14px; }
  section { padding: 16px 14px; }
  h1 { font-size: 24px; } dl.pairs { grid-template-columns: 1fr; } dl.pairs dd { margin-bottom: 6px; } }
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --muted: #444; --grid: #ddd; --line: #bbb;
    --accent: #000;
    --wash: #f2f2f2; --good: #0a5c40; --good-wash: #fff; --bad: #9a1c15; --bad-wash: #fff; --warn: #6b4600;
    --warn-wash: #fff; --idle: #444; --idle-wash: #fff;
    --s1: #0b63b5; --s2: #d2560b; --s3: #0a8a63; --s4: #b8548e; --s5: #a87500; --s6: #4a9fd8; }
  body { font-size: 10.5pt; } nav { display: none; }
  main, header.top > div, footer { max-width: none; padding: 0; }
  section { border: 0; padding: 0; margin: 18pt 0; } h2, h3 { break-after: avoid; }
  .figures.two, .figures.three { grid-template-columns: 1fr 1fr; }
  figure, tr, .fact { break-inside: avoid; } .pill { border: 1px solid currentColor; }
  .scroll { overflow: visible; }
}
"""
)
