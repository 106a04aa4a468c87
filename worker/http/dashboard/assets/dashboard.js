// What the pages do beyond links and forms, which work without it: times that count on, keys, live parts that wait
// while text is selected, copying.

const later = 1_000;

/** `12 s ago`, `in 5 min`: as elements.ts says it. */
function relative(ms) {
  const seconds = Math.abs(ms) / 1_000;
  const said =
    seconds < 10
      ? `${seconds < 0.05 ? 0 : seconds.toFixed(1)} s`
      : seconds < 60
        ? `${Math.floor(seconds)} s`
        : seconds < 3_600
          ? `${Math.floor(seconds / 60)} min`
          : seconds < 172_800
            ? `${Math.floor(seconds / 3_600)} h`
            : `${Math.floor(seconds / 86_400)} d`;
  return ms >= 0 ? `${said} ago` : `in ${said}`;
}

// On a narrow screen the names of the pages scroll: the current one is in view.
const pages = document.querySelector('header.top nav');
const current = pages?.querySelector('[aria-current]');
if (current) pages.scrollLeft = current.offsetLeft - (pages.clientWidth - current.offsetWidth) / 2;

const isSelecting = () => {
  const selection = document.getSelection();
  return selection !== null && !selection.isCollapsed && document.querySelector('main').contains(selection.anchorNode);
};

setInterval(() => {
  if (document.hidden || isSelecting()) return;
  for (const time of document.querySelectorAll('time[datetime]')) {
    const said = relative(Date.now() - Date.parse(time.dateTime));
    if (time.textContent !== said) time.textContent = said;
  }
}, later);

// Live parts.

const sign = document.querySelector('.live');
const sayLive = (word, off) => {
  sign.hidden = false;
  sign.textContent = word;
  sign.classList.toggle('off', off);
};

/** What arrives while text is selected, or a field of the part has the focus, waits. */
document.addEventListener('htmx:sse:before:message', (event) => {
  const busy = () =>
    isSelecting() ||
    (document.activeElement?.matches('input:not([type=checkbox]), textarea, select') &&
      event.target.contains(document.activeElement));
  if (!busy()) return;
  sayLive('paused', true);
  event.detail.waitUntil(
    new Promise((resolve) => {
      const timer = setInterval(() => {
        if (busy()) return;
        clearInterval(timer);
        resolve();
      }, 200);
    }),
  );
});
document.addEventListener('htmx:sse:after:connection', () => sayLive('live', false));
document.addEventListener('htmx:sse:after:message', () => sayLive('live', false));
for (const name of ['htmx:sse:error', 'htmx:sse:close'])
  document.addEventListener(name, () => sayLive('offline', true));

// A first answer that is no stream, such as a proxy's page about an error, replaces nothing, and is asked for again.
// Later ones htmx asks for again by itself.
function refuse(event) {
  const part = event.target;
  if (!part.matches?.('[data-live]')) return;
  event.preventDefault();
  sayLive('offline', true);
  const connect = () => htmx.ajax('GET', part.getAttribute('hx-sse:connect'), { source: part });
  setTimeout(connect, 5_000 * (0.5 + Math.random()));
}
for (const name of ['htmx:after:request', 'htmx:error']) document.addEventListener(name, refuse);

// Keys: / searches, j and k go through the rows, Enter opens one, x selects it, r retries.

let chosen;

function move(by) {
  const all = [...document.querySelectorAll('tbody tr')];
  const at = all.indexOf(chosen);
  const next = all[Math.min(Math.max(at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by, 0), all.length - 1)];
  chosen?.classList.remove('chosen');
  chosen = next;
  next?.classList.add('chosen');
  next?.scrollIntoView({ block: 'nearest' });
}

// A live part sets the classes of a row as the server has them.
document.addEventListener('htmx:sse:after:message', () => chosen?.classList.add('chosen'));

const keys = {
  '/': () => document.querySelector('input[type=search]')?.select(),
  j: () => move(1),
  k: () => move(-1),
  x: () => document.querySelector('tr.chosen input[type=checkbox]')?.click(),
  Enter: () => document.querySelector('tr.chosen a')?.click(),
  r() {
    const box = document.querySelector('tr.chosen input[type=checkbox]');
    if (box && !box.checked) box.click();
    document.querySelector('button[data-key=r]')?.click();
  },
};

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
  if (event.target.closest('input:not([type=checkbox]), textarea, select')) return;
  if (event.key === 'Enter' && event.target.closest('a, button, summary, input')) return;
  event.preventDefault();
  keys[event.key]();
});

// A box that selects all boxes of its form.
document.addEventListener('change', ({ target }) => {
  if (!target.matches('[data-all]')) return;
  for (const box of document.querySelectorAll('tbody input[type=checkbox]')) box.checked = target.checked;
});

// Copies the text of the element that it names. Over plain HTTP browsers have no clipboard API: then the text is
// selected, and the browser's old command copies it.
document.addEventListener('click', ({ target }) => {
  const button = target.closest('[data-copy]');
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const said = button.textContent;
  const say = (word) => {
    button.textContent = word;
    setTimeout(() => (button.textContent = said), later);
  };
  const select = () => {
    document.getSelection().selectAllChildren(source);
    say(document.execCommand('copy') ? 'Copied' : 'Press Ctrl C');
  };
  if (!navigator.clipboard) return select();
  navigator.clipboard.writeText(source.textContent).then(
    () => say('Copied'),
    () => select(),
  );
});
