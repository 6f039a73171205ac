// The fleet page: how things are in one sentence, which commit is served, and every host with its state.
import { count } from '../../api/words.ts';
import type { FleetView, HostView } from '../fleet/view.ts';
import { type Html, html } from './html.ts';
import { badge, layout, sentence, shortCommit, since } from './layout.ts';

/** @param rows of the view's hosts, by `hostRow`: thousands of them are made in slices. */
export function fleetPage(view: FleetView, rows: readonly Html[], nonce: string): string {
  const main = html`<section class="hero${view.healthy ? '' : ' bad'}"><h1>${view.summary}</h1></section>
${serving(view)}${problems(view)}
<h2>Hosts</h2>
<div class="card">${view.hosts.length === 0 ? noHosts(view) : hostTable(rows)}</div>
${warnings(view)}`;
  return layout(`${view.healthy ? '✓' : '!'} ${view.summary} – homeostat`, main, nonce);
}

function serving(view: FleetView): Html {
  const { serving: commit } = view;
  if (commit === null) {
    return html`<div class="card"><div class="commit"><span class="quiet">No commit is served yet.</span></div></div>`;
  }
  return html`<div class="card"><div class="commit"><span class="quiet">Serving</span> ${shortCommit(commit.commit)} <b>${commit.subject}</b>
<span class="quiet">${commit.author}, published ${since(commit.publishedAt, view.at)}</span></div></div>`;
}

function problems(view: FleetView): Html[] {
  const panels: Html[] = [];
  const { refused, head, serving: good } = view;
  if (refused !== null && head !== null) {
    const keeps =
      good === null
        ? 'nothing is served until it is mended'
        : html`${shortCommit(good.commit)} keeps serving`;
    const more = refused.errors - refused.diagnostics.length;
    panels.push(html`<div class="panel" role="alert"><p>${shortCommit(head.commit)} “${head.subject}” is refused: ${count(refused.errors, 'error')}; ${keeps}</p>
<pre>${refused.diagnostics.join('\n')}${more > 0 ? `\n… and ${more} more` : ''}</pre></div>`);
  }
  if (view.defect !== null) {
    panels.push(
      html`<div class="panel warn" role="alert"><p>a defect of homeostat; what is served stays</p><pre>${sentence(view.defect)}</pre></div>`,
    );
  }
  if (view.sourceProblem !== null) {
    panels.push(
      html`<div class="panel warn" role="alert"><p>git can’t be read; what is served stays</p><pre>${sentence(view.sourceProblem)}</pre></div>`,
    );
  }
  if (view.storeProblem !== null) {
    panels.push(
      html`<div class="panel warn" role="alert"><p>What happens now may not outlive a restart of the controller</p><pre>${sentence(view.storeProblem)}</pre></div>`,
    );
  }
  return panels;
}

function warnings(view: FleetView): Html | undefined {
  if (view.warnings.length === 0) return undefined;
  return html`<details id="warnings"><summary>${count(view.warnings.length, 'warning')} in the manifests</summary>
<div class="panel warn"><pre>${view.warnings.join('\n')}</pre></div></details>`;
}

function hostTable(rows: readonly Html[]): Html {
  return html`<div class="scroll"><table>
<thead><tr><th scope="col">Host</th><th scope="col">State</th><th scope="col">Mode</th><th scope="col">Desired</th><th scope="col">Running</th>
<th scope="col" class="num wide">Ready</th><th scope="col">Last seen</th><th scope="col" class="num wide">Healed</th></tr></thead>
<tbody>${rows}</tbody></table></div>`;
}

/** @param now RFC 3339. */
export function hostRow(host: HostView, now: string): Html {
  const behind = host.desired.sequence > host.running.sequence && host.running.sequence > 0;
  return html`<tr><td><a class="name" href="/hosts/${host.name}">${host.name}</a>${host.address === '' ? undefined : html`<span class="why">${host.address}</span>`}</td>
<td>${badge(host.state)}<span class="why">${host.reason}</span></td>
<td>${host.state === 'Unassigned' ? html`<span class="quiet">–</span>` : host.mode}</td>
<td class="tight">${shortCommit(host.desired.commit)}</td>
<td class="tight">${shortCommit(host.running.commit)}${behind ? html`<span class="why">behind</span>` : undefined}</td>
<td class="num wide">${host.lastSeen === '' ? html`<span class="quiet">–</span>` : `${host.resources.ready} of ${host.resources.total}`}</td>
<td>${since(host.lastSeen, now)}</td>
<td class="num wide">${host.healedTotal}</td></tr>
`;
}

const HOST_EXAMPLE = `apiVersion: homeostat.dev/v1
kind: Host
metadata: { name: pi, labels: { alloy: apt } }
spec: { address: 100.64.0.8, mode: observe }`;

function noHosts(view: FleetView): Html {
  const why =
    view.serving === null
      ? 'Nothing has been served yet.'
      : 'The commit that is served has no Host document.';
  return html`<div class="empty"><p>${why} Commit one for each host; in mode observe it is only looked at:</p>
<pre>${HOST_EXAMPLE}</pre>
<p>Then let the host in: <code>homeostat token create --host pi</code> here, and <code>homeostat enroll</code> with that token there.</p></div>`;
}
