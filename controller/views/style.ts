// The pages' style sheet: system fonts, one accent, light and dark by what the reader's system prefers.

export const STYLE = `
:root {
  --ground: #f6f7f5; --card: #ffffff; --ink: #1b211e; --soft: #5a655f; --line: #e1e5e1;
  --good: #1d6b45; --good-soft: #e2f1e8; --warn: #8a5a00; --warn-soft: #fbf0d9; --bad: #a3281f; --bad-soft: #fbe6e3;
  --calm: #35568a; --calm-soft: #e5ecf7; --mute: #59615d; --mute-soft: #eceeec;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #131715; --card: #1b211e; --ink: #e6ebe7; --soft: #9aa69f; --line: #2c3430;
    --good: #7fd3a4; --good-soft: #17362a; --warn: #e8c06e; --warn-soft: #3a2e13; --bad: #f2a097; --bad-soft: #43201c;
    --calm: #a6c1ef; --calm-soft: #1f2c43; --mute: #a5afa9; --mute-soft: #272d2a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
header, main { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { display: flex; align-items: center; justify-content: space-between; padding-top: 1rem; }
.brand { color: var(--ink); text-decoration: none; font-weight: 600; letter-spacing: -.01em; display: inline-flex; align-items: center; gap: .5rem; }
.mark { width: .85rem; height: .85rem; border-radius: 50%; border: 3px solid var(--good); }
#live { color: var(--soft); font-size: .8rem; }
#live::before { content: "○ "; }
#live[data-on="true"]::before { content: "● "; color: var(--good); }
main { padding-bottom: 4rem; }
a { color: inherit; text-decoration-color: var(--line); text-underline-offset: .2em; }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--calm); outline-offset: 2px; border-radius: 3px; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em; margin: 0; font-weight: 650; text-wrap: balance; }
h2 { font-size: 1rem; margin: 2.25rem 0 .6rem; font-weight: 600; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .86em; }
.quiet, .lead { color: var(--soft); }
.hero { padding: 2.25rem 0 1.25rem; }
.hero h1 { display: flex; gap: .7rem; align-items: baseline; }
.hero h1::before { content: "✓"; color: var(--good); font-weight: 700; }
.hero.bad h1::before { content: "!"; color: var(--bad); }
.hero.host h1 { flex-wrap: wrap; } .hero.host h1::before { content: none; }
.hero p { margin: .5rem 0 0; color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.commit { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; padding: .75rem 1rem; }
.commit b { font-weight: 600; }
.panel { border-radius: 10px; padding: .9rem 1rem; margin: .9rem 0 0; background: var(--bad-soft); color: var(--bad); border: 1px solid transparent; }
.panel.warn { background: var(--warn-soft); color: var(--warn); }
.panel p { margin: 0; font-weight: 600; }
.panel pre { margin: .7rem 0 0; white-space: pre-wrap; overflow-wrap: anywhere; color: var(--ink); line-height: 1.6; max-height: 24rem; overflow: auto; }
details { margin-top: .9rem; } summary { cursor: pointer; color: var(--soft); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: .8rem; padding: .6rem 1rem; white-space: nowrap; border-bottom: 1px solid var(--line); }
td { padding: .7rem 1rem; border-top: 1px solid var(--line); vertical-align: top; }
tbody tr:first-child td { border-top: 0; }
td.tight, td time { white-space: nowrap; } .num { text-align: right; font-variant-numeric: tabular-nums; }
td .why { display: block; color: var(--soft); font-size: .87rem; max-width: 44ch; overflow-wrap: anywhere; }
td ul { margin: .25rem 0 0; padding-left: 1.1rem; color: var(--soft); font-size: .87rem; }
.name { font-weight: 600; }
.badge { display: inline-flex; gap: .35rem; align-items: baseline; padding: .12rem .6rem; border-radius: 99px; font-size: .82rem; font-weight: 600; white-space: nowrap; background: var(--mute-soft); color: var(--mute); letter-spacing: 0; }
.badge.Ready { background: var(--good-soft); color: var(--good); }
.badge.Settling, .badge.Observing { background: var(--calm-soft); color: var(--calm); }
.badge.Degraded, .badge.RolledBack, .badge.UndoFailing { background: var(--bad-soft); color: var(--bad); }
.badge.Unseen, .badge.StatusRefused, .badge.Drifted { background: var(--warn-soft); color: var(--warn); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem 1.5rem; margin: 0; padding: 1rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: .1rem 0 0; overflow-wrap: anywhere; }
.empty { padding: 1.5rem 1rem; } .empty p { margin: 0 0 .75rem; } .empty p:last-child { margin: 0; }
.empty pre { background: var(--ground); border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; margin: 0 0 .75rem; overflow-x: auto; }
.label { display: inline-block; font-size: .8rem; color: var(--soft); background: var(--mute-soft); border-radius: 4px; padding: 0 .4rem; margin: 0 .25rem .2rem 0; }
@media (max-width: 40rem) { .wide { display: none; } h1 { font-size: 1.4rem; } td, th { padding-left: .75rem; padding-right: .75rem; } }
`;
