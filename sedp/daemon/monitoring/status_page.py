"""The status page: one self-contained document that draws `/status.json` every two seconds.

Nothing is loaded from elsewhere, so it works offline, and the policy below forbids anything else.
Values reach the page as text nodes only; no name in a config can become markup.
"""

from __future__ import annotations

import base64
import hashlib

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
td, th { padding: .4rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td { text-align: right; }
tr:last-child > * { border-bottom: 0; }
td:first-child, th:first-child { text-align: left; padding-left: 0; }
"""

SCRIPT = """
'use strict';
const GAP_MS = 2000, POINTS = 60, TIERS = ['ram', 'absent', 'lmdb', 'rocksdb', 'default'];
const TIER_NAMES = ['RAM', 'known absent', 'LMDB', 'RocksDB', 'default row'];
const SVG = 'http://www.w3.org/2000/svg';
const rates = new Map();
let before = null;  // the status drawn last, for rates

function make(tag, kind, ...children) {
  const node = document.createElement(tag);
  if (kind) node.className = kind;
  node.append(...children.map(child => typeof child === 'number' ? String(child) : child));
  return node;
}
function count(n) {
  return Number(n).toLocaleString('en', {maximumFractionDigits: n < 10 ? 1 : 0});
}
function seconds(s) {
  if (s === undefined) return '–';
  if (s < 1e-3) return (s * 1e6).toFixed(0) + ' µs';
  if (s < 1) return (s * 1e3).toPrecision(3) + ' ms';
  return s.toFixed(2) + ' s';
}
function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  while (n >= 1024 && unit < 4) { n /= 1024; unit += 1; }
  return n.toFixed(unit && n < 10 ? 1 : 0) + ' ' + units[unit];
}
function age(s) {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const first = parts.findIndex(([size]) => s >= size);
  if (first < 0) return '0 s';
  return parts.slice(first, first + 2).map(([size, name], i) =>
    Math.floor(i ? s % parts[first][0] / size : s / size) + ' ' + name).join(' ');
}
function bar(...shares) {
  const node = make('div', 'bar');
  for (const [share, color] of shares) {
    const part = make('i');
    part.style.width = (100 * Math.min(1, share || 0)) + '%';
    if (color) part.style.background = color;
    node.append(part);
  }
  return node;
}
function fill(share) {
  return bar([share, share > .8 ? 'var(--bad)' : share > .5 ? 'var(--warn)' : '']);
}
function spark(values) {
  const svg = document.createElementNS(SVG, 'svg');
  const line = document.createElementNS(SVG, 'polyline');
  const top = Math.max(...values, 1e-9);
  svg.setAttribute('viewBox', `0 0 ${POINTS - 1} 30`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  line.setAttribute('points', values.map((v, i) =>
    `${POINTS - values.length + i},${28 - 26 * v / top}`).join(' '));
  svg.append(line);
  return svg;
}
function fact(name, value) {
  return make('div', '', make('span', 'soft', name), make('b', '', value));
}

function rate(pipeline, status) {
  const old = before && before.pipelines.find(p => p.name === pipeline.name);
  const gap = before ? status.uptime_seconds - before.uptime_seconds : 0;
  if (!old || gap <= 0) return 0;
  return (pipeline.outcomes.answered - old.outcomes.answered) / gap;
}
function pipelineCard(pipeline, status) {
  const now = rate(pipeline, status), past = rates.get(pipeline.name) || [];
  rates.set(pipeline.name, past);
  past.push(now);
  if (past.length > POINTS) past.shift();
  const latency = pipeline.latency_seconds, outcomes = make('div', 'row soft');
  for (const [name, n] of Object.entries(pipeline.outcomes)) {
    if (!n && name !== 'answered') continue;
    const kind = name === 'answered' ? 'good' : name === 'failed' ? 'bad' : 'warn';
    outcomes.append(make('span', kind, count(n) + ' ' + name.replace('_', ' ')));
  }
  const late = latency.p99 > pipeline.deadline_seconds * .8 ? 'warn' : '';
  return make('div', 'card',
    make('div', 'row', make('h3', '', pipeline.name),
      make('span', 'soft push', 'deadline ' + seconds(pipeline.deadline_seconds))),
    make('div', 'row', make('span', 'big', count(now)), make('span', 'soft', 'answers a second')),
    spark(past),
    make('div', 'facts', fact('p50', seconds(latency.p50)),
      fact('p99', make('span', late, seconds(latency.p99))),
      fact('in flight', count(pipeline.in_flight) + ' / ' + count(pipeline.in_flight_max))),
    fill(pipeline.in_flight / pipeline.in_flight_max), outcomes);
}
function table(heads, rows) {
  const body = make('tbody');
  for (const cells of rows) body.append(make('tr', '', ...cells.map(c => make('td', '', c))));
  const head = make('tr', '', ...heads.map(text => {
    const cell = make('th', '', text);
    cell.scope = 'col';
    return cell;
  }));
  return make('div', 'card', make('table', '', make('thead', '', head), body));
}
function stageTable(stages) {
  return table(
    ['stage', 'queue', 'rows waiting', 'running', 'wait p50', 'p99', 'service p50', 'p99',
      'rows a batch', 'batches', 'failed'],
    stages.map(s => [
      make('span', '', make('span', 'soft', s.pipeline + ' / '), s.name),
      fill(s.queue_rows / s.queue_rows_max),
      count(s.queue_rows) + ' / ' + count(s.queue_rows_max),
      count(s.running) + ' / ' + count(s.concurrency),
      seconds(s.wait_seconds.p50), seconds(s.wait_seconds.p99),
      seconds(s.service_seconds.p50), seconds(s.service_seconds.p99),
      s.batch_rows.p50 === undefined ? '–' : count(s.batch_rows.p50),
      count(s.batches), make('span', s.failures ? 'bad' : '', count(s.failures))]));
}
function storeTable(store) {
  const legend = make('div', 'row soft');
  TIERS.forEach((tier, i) => {
    const dot = make('i', 'dot');
    dot.style.background = `var(--${tier})`;
    legend.append(make('span', '', dot, ' ' + TIER_NAMES[i]));
  });
  const rows = store.tables.map(t => {
    const by = Object.fromEntries(t.tiers.map(tier => [tier.tier, tier]));
    const share = tier => (tier === 'default' ? t.defaults - (by.absent ? by.absent.hits : 0)
      : by[tier] ? by[tier].hits : 0) / Math.max(1, t.lookups);
    const corrupt = t.tiers.reduce((sum, tier) => sum + tier.corrupt, 0);
    const name = make('span', '', t.name + ' ', make('span', 'soft', t.resident ? 'resident' : ''));
    return [name, 'v' + t.version, count(t.rows), count(t.lookups),
      bar(...TIERS.map(tier => [Math.max(0, share(tier)), `var(--${tier})`])),
      (100 * share('ram')).toFixed(1) + ' %', by.ram ? bytes(by.ram.bytes) : '–',
      by.lmdb ? (100 * Math.min(1, by.lmdb.rows / Math.max(1, t.rows))).toFixed(0) + ' %'
        : make('span', 'warn', 'none'),
      count(t.misses.waited), make('span', t.misses.deferred ? 'warn' : '',
        count(t.misses.deferred)), make('span', corrupt ? 'bad' : '', count(corrupt))];
  });
  const card = table(['table', 'version', 'rows', 'look-ups', 'answered by', 'from RAM',
    'RAM taken', 'in LMDB', 'waited', 'deferred', 'corrupt'], rows);
  const moves = Object.entries(store.moves).filter(([, n]) => n)
    .map(([name, n]) => count(n) + ' ' + name);
  legend.append(make('span', 'push', 'moved: ' + (moves.join(', ') || 'no rows')));
  card.append(legend);
  return card;
}
function frontTable(listeners) {
  return table(['plane', 'connections', 'refused', 'responses by status'],
    Object.entries(listeners).map(([name, l]) => [name, count(l.connections),
      count(l.connections_refused),
      Object.entries(l.responses).map(([s, n]) => s + ': ' + count(n)).join('   ') || '–']));
}
function workerTable(workers) {
  return table(['worker', 'pid', 'state', 'up', 'restarts', 'hung', 'memory', 'connections'],
    workers.map(w => [String(w.number), String(w.pid),
      make('span', w.state === 'ready' ? 'good' : w.state === 'dead' ? 'bad' : 'warn', w.state),
      age(w.uptime_seconds), count(w.restarts),
      make('span', w.stalls ? 'bad' : '', count(w.stalls)),
      bytes(w.rss_bytes), count(w.connections)]));
}
function draw(status) {
  const badge = document.getElementById('badge');
  badge.textContent = status.ready ? 'ready' : 'not ready';
  badge.className = 'badge ' + (status.ready ? 'good' : 'warn');
  document.getElementById('facts').textContent =
    `version ${status.version}, up ${age(status.uptime_seconds)}`;
  const cards = make('div', 'cards', ...status.pipelines.map(p => pipelineCard(p, status)));
  const parts = [make('h2', '', 'Pipelines'), cards];
  parts.push(make('h2', '', 'Stages'), stageTable(status.stages));
  if (status.store) parts.push(make('h2', '', 'Parameter store'), storeTable(status.store));
  if (status.workers.length) parts.push(make('h2', '', 'Workers'), workerTable(status.workers));
  parts.push(make('h2', '', 'Front door'), frontTable(status.listeners));
  document.getElementById('main').replaceChildren(...parts);
  before = status;
}
async function refresh() {
  try {
    draw(await (await fetch('/status.json')).json());
  } catch (error) {
    const badge = document.getElementById('badge');
    badge.textContent = 'not reachable';
    badge.className = 'badge bad';
  }
  setTimeout(refresh, GAP_MS);
}
refresh();
"""


def _source(text: str) -> str:
    """The name of an inline script or style in a content security policy: its digest."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


PAGE = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>sedp status</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
<header><h1>sedp</h1><span id="badge" class="badge soft">loading</span>
<span id="facts" class="soft"></span>
<span class="soft push">latencies and waits: last minute ·
<a href="/metrics">metrics</a> · <a href="/status.json">status.json</a></span></header>
<main id="main"><noscript>This page needs JavaScript; /status.json has the same.</noscript></main>
<script>{SCRIPT}</script>
</html>
""".encode()

PAGE_POLICY = (
    f"default-src 'none'; script-src {_source(SCRIPT)}; style-src {_source(STYLE)}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
