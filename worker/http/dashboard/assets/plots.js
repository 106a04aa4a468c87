// Makes a uPlot of each table that a plot names. The tables come again every 20 seconds, and the plots follow.

const plots = new Map();
const everyMs = 20_000;

const dark = matchMedia('(prefers-color-scheme: dark)');

/** A colour of the style sheet as a canvas takes it: light-dark() must be resolved. */
function resolved(name) {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.className = `tone ${name}`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function read(table) {
  const heads = [...table.tHead.rows[0].cells].slice(1);
  const rows = [...table.tBodies[0].rows];
  const column = (n, name) =>
    rows.map(({ cells }) => (cells[n].dataset[name] === '' ? null : Number(cells[n].dataset[name])));
  return {
    series: heads.map((cell) => ({ label: cell.textContent, tone: cell.dataset.tone, marks: 'marks' in cell.dataset })),
    data: [column(0, 'at'), ...heads.map((_, n) => column(n + 1, 'value'))],
  };
}

const told = {
  count: (value) => (value === null || value === undefined ? '–' : value.toLocaleString('en')),
  ms: (value) =>
    value === null || value === undefined
      ? '–'
      : value < 1_000
        ? `${rounded(value, value < 10 ? 1 : 0)} ms`
        : value < 60_000
          ? `${rounded(value / 1_000, 1)} s`
          : `${rounded(value / 60_000, 1)} min`,
};
const rounded = (value, digits) => Number(value.toFixed(digits));

/** The steps of an axis: those that `told` can tell apart. */
const decades = [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].flatMap((power) => [power, 2 * power, 5 * power]);
const steps = { count: decades, ms: [0.5, ...decades.slice(0, 13), 3e4, 6e4, 1.2e5, 3e5, 6e5, 1.8e6, 3.6e6, 1.44e7] };

function draw(host) {
  const { series, data } = read(document.getElementById(host.dataset.plot));
  const tell = told[host.dataset.unit];
  const ink = resolved('soft');
  const line = resolved('line');
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  host.querySelector('svg')?.remove();
  host.querySelector('.uplot')?.remove();
  const options = {
    width: host.clientWidth - 32,
    height: 150,
    legend: { live: true },
    cursor: { points: { size: 6 } },
    axes: [axis, { ...axis, size: 60, incrs: steps[host.dataset.unit], values: (_, splits) => splits.map(tell) }],
    scales: { y: { range: (_, __, most) => [0, Math.max(1, most * 1.05)] } },
    series: [
      { value: (_, at) => (at ? new Date(at * 1_000).toLocaleTimeString([], { timeStyle: 'short' }) : '–') },
      ...series.map(({ label, tone, marks }, n) => ({
        label,
        stroke: resolved(tone),
        width: marks ? 0 : 1.5,
        spanGaps: !marks,
        points: marks ? { show: true, size: 9, fill: resolved(tone) } : { show: false },
        value: (_, value) => tell(value),
        ...(n === 0 ? { fill: resolved(`${tone} faint`) } : {}),
      })),
    ],
  };
  host.querySelector('.keys')?.setAttribute('hidden', '');
  plots.set(host, new uPlot(options, data, host));
}

const drawAll = () => document.querySelectorAll('[data-plot]').forEach(draw);

async function follow() {
  if (document.hidden || document.querySelector('.plots details[open]')) return;
  const answer = await fetch(document.querySelector('[data-plots]').dataset.plots).catch(() => undefined);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const [host, drawn] of plots) {
    const table = fresh.getElementById(host.dataset.plot);
    if (!table) continue;
    document.getElementById(host.dataset.plot).replaceWith(table);
    drawn.setData(read(table).data);
  }
}

drawAll();
setInterval(() => void follow(), everyMs);
dark.addEventListener('change', drawAll);
let resizing;
addEventListener('resize', () => {
  clearTimeout(resizing);
  resizing = setTimeout(drawAll, 150);
});
