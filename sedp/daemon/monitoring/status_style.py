"""How the status page looks, in light and in dark."""

STYLE = """
:root { color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --ink: #1c2330; --soft: #667085; --line: #e3e6eb;
  --accent: #0f7b8a; --track: #e8ebf0; --good: #1a7f4b; --warn: #b25e09; --bad: #c0322b;
  --ram: #0f7b8a; --lmdb: #5aa9a3; --rocksdb: #b9a24a; --absent: #9aa4b2; --default: #d08b5b; }
@media (prefers-color-scheme: dark) { :root {
  --page: #12151b; --card: #1b2029; --ink: #e6e9ef; --soft: #98a2b3; --line: #2b323e;
  --accent: #4fc3cf; --track: #2a313d; --good: #55c98a; --warn: #e6a34a; --bad: #f0776f;
  --ram: #4fc3cf; --lmdb: #3f8f8a; --rocksdb: #a8923f; --absent: #667085; --default: #b8734a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 3rem; background: var(--page);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; font-variant-numeric: tabular-nums; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .4rem 1rem; }
h1 { margin: 0; font-size: 1.35rem; letter-spacing: -.01em; }
h2 { margin: 2rem 0 .6rem; font-size: .8rem; font-weight: 600; letter-spacing: .07em;
  text-transform: uppercase; color: var(--soft); }
h3 { margin: 0; font-size: 1rem; }
a { color: var(--accent); }
.soft { color: var(--soft); font-size: .85rem; }
.push { margin-left: auto; }
.badge { border-radius: 1rem; padding: .1rem .65rem; font-size: .8rem; font-weight: 600;
  border: 1px solid currentColor; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem;
  padding: 1rem 1.1rem; overflow-x: auto; }
.row { display: flex; align-items: baseline; gap: .6rem; flex-wrap: wrap; }
.big { font-size: 1.9rem; font-weight: 650; letter-spacing: -.02em; }
.facts { display: grid; grid-template-columns: repeat(3, 1fr); gap: .2rem .8rem; margin: .7rem 0; }
.facts b { display: block; font-weight: 600; }
.bar + .row { margin-top: .7rem; }
.bar { display: flex; height: .45rem; min-width: 5rem; border-radius: .3rem; overflow: hidden;
  background: var(--track); }
.bar i { display: block; height: 100%; background: var(--accent); }
svg { display: block; width: 100%; height: 2.6rem; margin-top: .5rem; }
polyline { fill: none; stroke: var(--accent); stroke-width: 1.6;
  vector-effect: non-scaling-stroke; }
.dot { display: inline-block; width: .6rem; height: .6rem; border-radius: 50%; }
table { border-collapse: collapse; width: 100%; }
th { text-align: right; font-weight: 500; font-size: .8rem; color: var(--soft); }
td, th { padding: .4rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { text-align: right; }
tr:last-child > * { border-bottom: 0; }
.why { display: block; width: 24rem; white-space: normal; text-align: left;
  font-size: .85rem; color: var(--soft); }
td:first-child, th:first-child { text-align: left; padding-left: 0; }
td:last-child, th:last-child { padding-right: 0; }
table + .row { margin-top: .7rem; }
"""
