// One host: what it is to run and what it runs, every resource with its conditions, and what happened last.
import {
  concernsOf,
  isTrouble,
  longPassOf,
  messageOf,
  resourceReason,
  resourceState,
  shownState,
  worstFirst,
} from '../../api/health.ts';
import type { AgentStatus, BriefStatus, Condition, ResourceStatus } from '../../api/status.ts';
import { findCondition } from '../../api/status.ts';
import type { HostView } from '../fleet/view.ts';
import { type Html, html } from './html.ts';
import { badge, layout, sentence, shortCommit, since } from './layout.ts';

/** @param now RFC 3339. */
export function hostPage(
  host: HostView,
  status: AgentStatus | undefined,
  now: string,
  nonce: string,
): string {
  const main = html`<section class="hero host"><h1>${host.name} ${badge(host.state)}</h1><p>${sentence(host.reason)}</p></section>
<div class="card"><dl>
${fact('Address', host.address)}${fact('Mode', host.mode)}
${fact('Desired', html`${shortCommit(host.desired.commit)} <span class="quiet">${sequence(host.desired.sequence)}</span>`)}
${fact('Running', html`${shortCommit(host.running.commit)} <span class="quiet">${sequence(host.running.sequence)}</span>`)}
${fact('Last seen', since(host.lastSeen, now))}
${fact('Agent', `${host.agentVersion} ${host.platform}`.trim())}
${fact('Labels', labels(host.labels))}
</dl></div>
${status === undefined ? unheard(host) : heard(host, status, now)}`;
  return layout(`${host.name}: ${host.state} – homeostat`, main, nonce);
}

function heard(host: HostView, status: AgentStatus, now: string): Html {
  const trouble = status.conditions.filter(isTrouble);
  return html`${host.state === 'StatusRefused' ? html`<div class="panel warn" role="alert"><p>What follows is the last report that could be taken, of ${since(status.at, now)}.</p></div>` : undefined}${trouble.length === 0 ? undefined : html`<h2>The agent</h2><div class="card"><table><tbody>${trouble.map((c) => conditionRow(c, now))}</tbody></table></div>`}
<h2>Resources</h2>
<div class="card">${
    host.resources.total === 0
      ? html`<div class="empty"><p>${empty(host)} Commit a document whose hosts select it, by label or by name.</p></div>`
      : html`<div class="scroll"><table><thead><tr><th scope="col">Resource</th><th scope="col">State</th><th scope="col" class="wide">In git</th><th scope="col" class="num">Healed</th></tr></thead>
<tbody>${worstFirst(status).map((r) => resourceRow(r, status, now))}${(status.brief ?? []).map((b) => briefRow(b, status.mode))}</tbody></table></div>`
  }</div>
<h2>Recent events</h2>
<div class="card">${
    status.events.length === 0
      ? html`<div class="empty"><p>Nothing has happened since the agent started.</p></div>`
      : html`<div class="scroll"><table><tbody>${[...status.events]
          .reverse()
          .slice(0, 50)
          .map(
            (e) =>
              html`<tr><td class="tight">${since(e.at, now)}</td><td><span class="name">${e.key}</span> ${e.type === 'Warning' ? '! ' : ''}${e.reason}<span class="why">${e.message}</span></td></tr>`,
          )}</tbody></table></div>`
  }</div>`;
}

function conditionRow(c: Condition, now: string): Html {
  return html`<tr><td class="name">${c.type}</td><td>${c.reason}<span class="why">${c.message}</span></td><td class="tight">${c.lastTransitionTime === '' ? undefined : since(c.lastTransitionTime, now)}</td></tr>`;
}

function resourceRow(r: ResourceStatus, { mode, at }: AgentStatus, now: string): Html {
  const ready = findCondition(r.conditions, 'Ready');
  const state = resourceState(r.conditions, at);
  const others = concernsOf(r.conditions);
  return html`<tr><td class="name">${r.key}</td>
<td>${badge(shownState(state, mode))} ${state === 'Ready' ? undefined : resourceReason(r.conditions)}${state === 'Ready' ? undefined : html`<span class="why">${withoutDrift(messageOf(r), r)}</span>`}
${longPassOf(r) === '' ? undefined : html`<span class="why">${longPassOf(r)}</span>`}${others.map((c) => html`<span class="why">${c.type}: ${c.message}</span>`)}
${r.drift.length === 0 ? undefined : html`<ul>${r.drift.map((line) => html`<li>${line}</li>`)}</ul>`}</td>
<td class="wide"><code>${r.source}</code></td>
<td class="num">${r.healedTotal}${r.lastHealSeconds === undefined ? undefined : html`<span class="why">last in ${milliseconds(r.lastHealSeconds)}</span>`}${
    ready?.lastTransitionTime
      ? html`<span class="why">${since(ready.lastTransitionTime, now)}</span>`
      : undefined
  }</td></tr>`;
}

/** Of a status that was too large: the keys in one row, since nothing else is known of them here. */
function briefRow(b: BriefStatus, mode: AgentStatus['mode']): Html {
  const keys = b.more === 0 ? b.keys.join(', ') : [...b.keys, `${b.more} more`].join(', ');
  return html`<tr><td class="name">${b.keys.length + b.more} more</td>
<td>${badge(shownState(b.state, mode))} ${b.state === 'Ready' ? undefined : b.reason}<details><summary>without detail: the status was too large</summary>${keys}</details></td>
<td class="wide"></td><td class="num">${b.healedTotal}</td></tr>`;
}

/** Its lines of drift are a list of their own. */
function withoutDrift(message: string, { drift }: ResourceStatus): string {
  const lines = drift.join('; ');
  return message.startsWith(lines) ? message.slice(lines.length).trim() : message;
}

function empty(host: HostView): string {
  return host.desired.sequence === 0
    ? 'Nothing is assigned to this host.'
    : 'No document of the commit that is assigned selects this host.';
}

function unheard(host: HostView): Html {
  if (host.lastSeen !== '') return html``;
  return html`<h2>Nothing heard yet</h2><div class="card"><div class="empty"><p>Make a token here, and enrol with it on the host:</p>
<pre>homeostat token create --host ${host.name}
homeostat enroll --host ${host.name} --controller URL --token TOKEN</pre>
<p>Then start the agent there: <code>homeostat agent</code>.</p></div></div>`;
}

function fact(name: string, value: Html | string): Html {
  const shown = value === '' ? html`<span class="quiet">–</span>` : value;
  return html`<div><dt>${name}</dt><dd>${shown}</dd></div>`;
}

function labels(all: HostView['labels']): Html {
  const entries = Object.entries(all);
  if (entries.length === 0) return html`<span class="quiet">none</span>`;
  return html`${entries.map(([key, value]) => html`<span class="label">${key}: ${value}</span>`)}`;
}

function sequence(n: number): string {
  return n === 0 ? '' : `sequence ${n}`;
}

function milliseconds(seconds: number): string {
  return seconds < 1 ? `${Math.max(1, Math.round(seconds * 1000))} ms` : `${seconds.toFixed(1)} s`;
}
