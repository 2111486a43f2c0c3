// What the console does without a page being loaded anew. Every page works without it.
'use strict';

const main = document.getElementById('main');

// Pages that show the present are fetched again while somebody looks and nothing in them has the focus.
const every = Number(main?.dataset.refresh) * 1000;
async function refresh() {
  const idle = !document.hidden && !main.contains(document.activeElement.closest('a, button, summary, input, select'));
  if (!idle) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
    if (!answer.ok) return location.reload();
    const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
    main.replaceChildren(...document.adoptNode(fresh.getElementById('main')).childNodes);
    document.querySelector('.standing')?.replaceWith(fresh.querySelector('.standing'));
  } catch {
    // The agent restarts, perhaps: the next round tells.
  }
}
if (every) setInterval(refresh, every);

// Escape closes the details, j and k go through the rows, / goes to the filters.
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape') {
    document.querySelector('.drawer .close')?.click();
    return;
  }
  if (event.target.closest('input, select, textarea')) return;
  if (event.key === '/') {
    const first = document.querySelector('.filters input');
    if (first) {
      event.preventDefault();
      first.focus();
    }
  } else if (event.key === 'j' || event.key === 'k') {
    const rows = [...document.querySelectorAll('a.row')];
    const at = rows.indexOf(document.activeElement);
    const open = rows.findIndex((row) => row.getAttribute('aria-current'));
    const from = at >= 0 ? at : open;
    rows[Math.max(0, Math.min(rows.length - 1, from + (event.key === 'j' ? 1 : -1)))]?.focus();
  }
});

// A form asks for what was filled in alone: short addresses are read, sent on and kept.
document.querySelector('form.filters')?.addEventListener('submit', (event) => {
  for (const field of event.target.elements) {
    if (field.name && !field.value.trim()) field.disabled = true;
  }
});
// Back brings the page back as it was left.
addEventListener('pageshow', () => {
  for (const field of document.querySelectorAll('form.filters :disabled')) field.disabled = false;
});

document.querySelector('.drawer')?.focus();
