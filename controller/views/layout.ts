// What all pages share: the frame, the looks, and the few lines of script that fetch the page again when the
// controller says that something changed. No other files are loaded, so the page works on a cut-off tailnet.
import { ago, type HostState } from '../../api/health.ts';
import { type Html, html, Html as Markup } from './html.ts';
import { STYLE } from './style.ts';

const SCRIPT = `
const live = document.getElementById('live');
const say = (on) => { live.textContent = on ? 'live' : 'not live: trying again'; live.dataset.on = on; };
let busy = false, again = false;
async function refresh() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const open = [...document.querySelectorAll('details[open]')].map((d) => d.id);
    document.querySelector('main').replaceWith(page.querySelector('main'));
    for (const id of open) document.getElementById(id)?.setAttribute('open', '');
    document.title = page.title;
  } catch {} finally {
    busy = false;
    if (again) { again = false; refresh(); }
  }
}
const events = new EventSource('/v1/events');
events.onopen = () => { say(true); refresh(); };
events.onerror = () => say(false);
events.addEventListener('change', refresh);
setInterval(refresh, 30000);
`;

export function layout(title: string, main: Html, nonce: string, live = true): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style nonce="${nonce}">${new Markup(STYLE)}</style>
</head>
<body>
<header><a href="/" class="brand"><span class="mark" aria-hidden="true"></span>homeostat</a>${live ? html`<span id="live" role="status">connecting</span>` : undefined}</header>
<main>${main}</main>
${live ? html`<script nonce="${nonce}">${new Markup(SCRIPT)}</script>` : undefined}
</body>
</html>
`.text;
}

export function errorPage(message: string, nonce: string): string {
  const body = html`<section class="hero bad"><h1>This page can’t be shown</h1></section><p class="lead">${sentence(message)}</p>`;
  return layout('homeostat', body, nonce, false);
}

const SYMBOLS: Record<HostState, string> = {
  Ready: '✓',
  Suspended: '‖',
  Settling: '↻',
  Drifted: '≠',
  Degraded: '!',
  RolledBack: '↶',
  UndoFailing: '!',
  StatusRefused: '!',
  Observing: '◉',
  Unseen: '?',
  Unassigned: '∅',
};
const WORDS: Record<HostState, string> = {
  Ready: 'Ready',
  Suspended: 'Suspended',
  Settling: 'Settling',
  Drifted: 'Drifted',
  Degraded: 'Degraded',
  RolledBack: 'Rolled back',
  UndoFailing: 'Undo failing',
  StatusRefused: 'Status refused',
  Observing: 'Observing',
  Unseen: 'Unseen',
  Unassigned: 'Unassigned',
};

/** A symbol and a word: the colour says nothing that they don't. */
export function badge(state: HostState): Html {
  return html`<span class="badge ${state}"><span aria-hidden="true">${SYMBOLS[state]}</span> ${WORDS[state]}</span>`;
}

/** @param at RFC 3339; '' for never. @param now likewise. */
export function since(at: string, now: string): Html {
  if (at === '') return html`<span class="quiet">never</span>`;
  const ms = Date.parse(now) - Date.parse(at);
  return html`<time datetime="${at}" title="${at}">${ms < 5_000 ? 'just now' : `${ago(ms)} ago`}</time>`;
}

export function shortCommit(commit: string): Html {
  if (commit === '') return html`<span class="quiet">–</span>`;
  const name = /^[0-9a-f]{40,64}$/.test(commit) ? commit.slice(0, 8) : commit;
  return html`<code title="${commit}">${name}</code>`;
}

export function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
