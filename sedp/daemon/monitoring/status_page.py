"""The status page: one self-contained document that draws `/status.json` every two seconds.

Nothing is loaded from elsewhere, so it works offline, and the policy below forbids anything else.
Values reach the page as text nodes only; no name in a config can become markup.
"""

from __future__ import annotations

import base64
import hashlib

from sedp.daemon.monitoring.status_style import STYLE

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
  const limit = pipeline.target_seconds || pipeline.deadline_seconds * .8;
  const late = latency.p99 > limit ? 'warn' : '';
  return make('div', 'card',
    make('div', 'row', make('h3', '', pipeline.name),
      make('span', 'soft push', 'deadline ' + seconds(pipeline.deadline_seconds))),
    make('div', 'row', make('span', 'big', count(now)), make('span', 'soft', 'answers a second')),
    spark(past),
    make('div', 'facts', fact('p50', seconds(latency.p50)),
      fact('p99', make('span', late, seconds(latency.p99))),
      fact('in flight', count(pipeline.in_flight) + ' / ' + count(pipeline.in_flight_max)),
      ...(pipeline.in_flight_bytes_max === null ? [] : [fact('bytes',
        bytes(pipeline.in_flight_bytes) + ' / ' + bytes(pipeline.in_flight_bytes_max))])),
    fill(pipeline.in_flight / pipeline.in_flight_max), outcomes);
}
function total(counts) {
  return Object.values(counts).reduce((sum, n) => sum + n, 0);
}
function share(part, whole) {
  return whole ? (100 * part / whole).toFixed(part ? 1 : 0) + ' %' : '–';
}
function targetTable(pipelines) {
  return table(['pipeline', 'target', 'p99', 'pressure', '', 'shed', 'degraded', 'by'],
    pipelines.map(p => {
      const all = total(p.outcomes), worst = Object.entries(p.degraded).filter(([, n]) => n)
        .sort((a, b) => b[1] - a[1]).map(([name, n]) => count(n) + ' ' + name);
      const late = p.target_seconds && p.latency_seconds.p99 > p.target_seconds ? 'bad' : '';
      return [p.name, p.target_seconds ? seconds(p.target_seconds) : 'none',
        make('span', late, seconds(p.latency_seconds.p99)),
        p.target_seconds ? p.pressure.toFixed(2) : '–', fill(p.pressure),
        share(p.outcomes.shed, all), share(total(p.degraded), p.outcomes.answered),
        worst.join(', ') || '–'];
    }));
}
function knobValue(knob, value) {
  return knob === 'batch_wait_ns' ? seconds(value / 1e9)
    : knob.includes('bytes') ? bytes(value)
    : typeof value === 'number' ? count(value) : value;
}
function moveTable(tuning) {
  const card = table(['when', 'stage', 'knob', 'from', 'to', 'why', 'expected', 'came'],
    tuning.recent.map(m => [age(Math.max(0, Date.now() / 1000 - m.at)),
      make('span', '', make('span', 'soft', (m.pipeline || 'store') + (m.stage && ' / ')), m.stage),
      m.knob.replace(/_(max|ns)/g, '').replaceAll('_', ' '), knobValue(m.knob, m.before),
      knobValue(m.knob, m.after), make('span', 'why', m.reason),
      m.expected ? '×' + m.expected.gain.toFixed(2) : '–',
      m.came ? make('span', m.came.verdict === 'kept' ? 'good' : 'warn',
        '×' + m.came.gain.toFixed(2) + ' ' + m.came.verdict) : '–']));
  card.append(make('div', 'row soft', count(total(tuning.moves)) + ' moves since the start',
    tuning.frozen ? make('span', 'warn', 'frozen') : ''));
  return card;
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
    ['stage', 'queue', 'rows waiting', 'running', 'executor', 'wait p50', 'p99', 'service p50',
      'p99', 'rows a batch', 'batches', 'failed', 'stood in'],
    stages.map(s => [
      make('span', '', make('span', 'soft', s.pipeline + ' / '), s.name,
        make('span', 'bad', s.breaker && s.breaker !== 'closed' ? ' left alone' : '')),
      fill(s.queue_rows / s.queue_rows_max),
      count(s.queue_rows) + ' / ' + count(s.queue_rows_max),
      count(s.running) + ' / ' + count(s.concurrency),
      Object.keys(s.executors).join(', ') || '–',
      seconds(s.wait_seconds.p50), seconds(s.wait_seconds.p99),
      seconds(s.service_seconds.p50), seconds(s.service_seconds.p99),
      s.batch_rows.p50 === undefined ? '–' : count(s.batch_rows.p50),
      count(s.batches), make('span', s.failures ? 'bad' : '', count(s.failures)),
      make('span', s.fallbacks ? 'warn' : '', count(s.fallbacks))]));
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
      (100 * share('ram')).toFixed(1) + ' %',
      by.ram ? (100 * by.ram.whole_batches / Math.max(1, by.ram.batches)).toFixed(1) + ' %' : '–',
      by.ram ? bytes(by.ram.bytes) : '–',
      by.lmdb ? (100 * Math.min(1, by.lmdb.rows / Math.max(1, t.rows))).toFixed(0) + ' %'
        : make('span', 'warn', 'none'),
      count(t.misses.waited), make('span', t.misses.deferred ? 'warn' : '',
        count(t.misses.deferred)), make('span', corrupt ? 'bad' : '', count(corrupt))];
  });
  const card = table(['table', 'version', 'rows', 'look-ups', 'answered by', 'from RAM',
    'requests from RAM alone', 'RAM taken', 'in LMDB', 'waited', 'deferred', 'corrupt'], rows);
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
  if (status.pipelines.some(p => p.target_seconds || total(p.degraded)))
    parts.push(make('h2', '', 'Under load'), targetTable(status.pipelines));
  parts.push(make('h2', '', 'Stages'), stageTable(status.stages));
  if (status.tuning.recent.length || status.tuning.frozen)
    parts.push(make('h2', '', 'Moves of knobs'), moveTable(status.tuning));
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
